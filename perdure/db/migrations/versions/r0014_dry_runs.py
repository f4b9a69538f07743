"""Runs that only show what they would do."""

from perdure.db.migrations.sql_file import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql("0014_dry_runs.sql")
