"""How far connections are set up, what is held against their credentials, and their end."""

from perdure.db.migrations.sql_file import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql("0016_connection_lifecycle.sql")
