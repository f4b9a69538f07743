"""Where a round through the runs that may name old payloads is."""

from perdure.db.migrations.sql_file import run_sql

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    run_sql("0038_payload_rounds.sql")
