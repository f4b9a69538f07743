"""Writes that are undone by what they find after their work."""

from perdure.db.migrations.sql_file import run_sql

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    run_sql("0030_refused_writes.sql")
