"""Checkpoints, and what of them a run found and left."""

from perdure.db.migrations.sql_file import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql("0012_checkpoints.sql")
