"""An index of the deleted records alone."""

from perdure.db.migrations.online import make_index

revision = "0033"
down_revision = "0032"

_CREATE = """
CREATE INDEX CONCURRENTLY records_deleted ON records (connection_key, model, variant, change_seq)
 WHERE deleted_at IS NOT NULL
"""


def upgrade() -> None:
    make_index("records_deleted", _CREATE)
