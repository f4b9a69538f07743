"""Resets, records built anew, and runs that Temporal knows by a later id."""

from perdure.db.migrations.sql_file import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("0006_sync_lifecycle.sql")
