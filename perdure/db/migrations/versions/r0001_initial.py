"""Everything: environments, connections, bundles, runs, records, payload blobs."""

from perdure.db.migrations.sql_file import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("0001_initial.sql")
