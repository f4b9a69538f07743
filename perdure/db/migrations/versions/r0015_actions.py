"""Settings and keys of actions, and the queue of asynchronous ones."""

from perdure.db.migrations.sql_file import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql("0015_actions.sql")
