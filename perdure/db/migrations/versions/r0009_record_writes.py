"""Counts of records, and tracks of what runs have seen."""

from perdure.db.migrations.sql_file import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql("0009_record_writes.sql")
