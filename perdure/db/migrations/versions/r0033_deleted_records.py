"""An index of the deleted records alone, made while others write."""

from alembic import op

revision = "0033"
down_revision = "0032"

# What an attempt that broke off has left is of no use, and in the way of the next one.
_DROP = "DROP INDEX CONCURRENTLY IF EXISTS records_deleted"

_CREATE = """
CREATE INDEX CONCURRENTLY records_deleted ON records (connection_key, model, variant, change_seq)
 WHERE deleted_at IS NOT NULL
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute(_DROP)
        op.execute(_CREATE)
