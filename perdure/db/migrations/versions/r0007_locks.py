"""Locks of scripts."""

from perdure.db.migrations.sql_file import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("0007_locks.sql")
