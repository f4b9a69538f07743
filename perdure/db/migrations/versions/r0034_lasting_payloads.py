"""Whether a payload is needed for as long as a history names it."""

from perdure.db.migrations.sql_file import run_sql

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    run_sql("0034_lasting_payloads.sql")
