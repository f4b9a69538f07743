"""When payloads were last used, and deliveries in the order of their ends."""

from perdure.db.migrations.sql_file import run_sql

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    run_sql("0030_retention.sql")
