"""Records are looked up by their key, whatever the table looked like when that was planned."""

from perdure.db.migrations.sql_file import run_sql

revision = "0039"
down_revision = "0038"


def upgrade() -> None:
    run_sql("0039_look_up_by_key.sql")
