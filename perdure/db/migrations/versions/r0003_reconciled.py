"""How far a deployment has come with the connections."""

from perdure.db.migrations.sql_file import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("0003_reconciled.sql")
