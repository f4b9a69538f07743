"""The last writes of a workflow of a run, and whose they were."""

from perdure.db.migrations.sql_file import run_sql

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    run_sql("0035_run_batches.sql")
