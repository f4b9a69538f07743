"""How far records were pruned."""

from perdure.db.migrations.sql_file import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql("0010_pruning.sql")
