"""Attempts of a read since its last page."""

from perdure.db.migrations.sql_file import run_sql

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    run_sql("0026_run_cursor_tries.sql")
