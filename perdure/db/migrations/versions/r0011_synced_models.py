"""Which models a sync has fetched."""

from perdure.db.migrations.sql_file import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql("0011_synced_models.sql")
