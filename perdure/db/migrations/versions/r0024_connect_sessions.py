"""Connect sessions, and who is at a consent page."""

from perdure.db.migrations.sql_file import run_sql

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    run_sql("0024_connect_sessions.sql")
