"""What stands there, read once a lock is there, and connections that are held."""

from perdure.db.migrations.sql_file import run_sql

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    run_sql("0028_standing_records.sql")
