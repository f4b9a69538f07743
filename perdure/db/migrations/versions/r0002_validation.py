"""Validation of records, inputs and outputs, per environment."""

from perdure.db.migrations.sql_file import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("0002_validation.sql")
