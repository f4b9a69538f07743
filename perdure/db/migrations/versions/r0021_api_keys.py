"""Keys with scopes, and what was done with them."""

from perdure.db.migrations.sql_file import run_sql

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    run_sql("0021_api_keys.sql")
