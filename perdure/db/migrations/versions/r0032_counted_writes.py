"""Which writes a run has counted lately."""

from perdure.db.migrations.sql_file import run_sql

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    run_sql("0032_counted_writes.sql")
