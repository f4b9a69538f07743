"""The index of the stream serves only the stream."""

from perdure.db.migrations.sql_file import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql("0013_record_stream.sql")
