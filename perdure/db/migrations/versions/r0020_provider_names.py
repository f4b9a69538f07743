"""Providers by OAuth get the plain names, those by key the ending `-api-key`."""

from perdure.db.migrations.sql_file import run_sql

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run_sql("0020_provider_names.sql")
