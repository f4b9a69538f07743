"""When runs were retried, and which keys of actions are the oldest."""

from perdure.db.migrations.sql_file import run_sql

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run_sql("0019_retried_runs.sql")
