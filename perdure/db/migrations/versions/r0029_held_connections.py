"""Connections are held by whoever writes records, once a statement."""

from perdure.db.migrations.sql_file import run_sql

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    run_sql("0029_held_connections.sql")
