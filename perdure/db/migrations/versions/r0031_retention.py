"""When payloads were last used, and deliveries in the order of their ends."""

from perdure.db.migrations.sql_file import run_sql

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    run_sql("0031_retention.sql")
