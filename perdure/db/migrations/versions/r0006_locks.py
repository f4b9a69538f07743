"""Locks of scripts."""

from perdure.db.migrations.sql_file import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("0006_locks.sql")
