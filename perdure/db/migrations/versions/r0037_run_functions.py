"""What several statements do to runs, and ask of them, in one place each."""

from perdure.db.migrations.sql_file import run_sql

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    run_sql("0037_run_functions.sql")
