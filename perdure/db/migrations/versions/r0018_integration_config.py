"""Values that belong to an integration."""

from perdure.db.migrations.sql_file import run_sql

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run_sql("0018_integration_config.sql")
