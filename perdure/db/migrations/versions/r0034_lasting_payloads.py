"""Whether a payload is needed for as long as a history names it."""

from perdure.db.migrations.online import make_index
from perdure.db.migrations.sql_file import run_sql

revision = "0034"
down_revision = "0033"

_USED = "CREATE INDEX CONCURRENTLY payload_blobs_used ON payload_blobs (lasting, used_at)"


def upgrade() -> None:
    run_sql("0034_lasting_payloads.sql")
    make_index("payload_blobs_used", _USED)
