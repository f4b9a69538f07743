"""When credentials expire, who refreshes them, and what came of it."""

from perdure.db.migrations.sql_file import run_sql

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run_sql("0023_credential_refreshes.sql")
