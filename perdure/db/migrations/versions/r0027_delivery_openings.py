"""Which time a webhook is delivered."""

from perdure.db.migrations.sql_file import run_sql

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    run_sql("0027_delivery_openings.sql")
