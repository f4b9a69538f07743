"""When payloads were last used, and deliveries in the order of their ends."""

from perdure.db.migrations.online import make_index
from perdure.db.migrations.sql_file import run_sql

revision = "0031"
down_revision = "0030"

# The index of payloads by their last use comes with 0034, which has it lead by another column.
_FINISHED = """
CREATE INDEX CONCURRENTLY webhook_deliveries_finished ON webhook_deliveries (finished_at)
 WHERE finished_at IS NOT NULL
"""


def upgrade() -> None:
    run_sql("0031_retention.sql")
    make_index("webhook_deliveries_finished", _FINISHED)
