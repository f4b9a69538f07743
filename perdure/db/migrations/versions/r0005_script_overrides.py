"""Runs that are retried may execute another bundle."""

from perdure.db.migrations.sql_file import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("0005_script_overrides.sql")
