"""Webhooks: settings, and the outbox of deliveries."""

from perdure.db.migrations.sql_file import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql("0008_webhooks.sql")
