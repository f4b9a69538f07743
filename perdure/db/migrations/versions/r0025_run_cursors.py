"""Cursors of the reads that save past the script."""

from perdure.db.migrations.sql_file import run_sql

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    run_sql("0025_run_cursors.sql")
