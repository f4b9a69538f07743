"""What providers send: events, what is to be done about them, and how they are verified."""

from perdure.db.migrations.sql_file import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_sql("0017_incoming_webhooks.sql")
