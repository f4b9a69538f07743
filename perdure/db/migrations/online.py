"""Indexes of tables that are in use: made while others write."""

from __future__ import annotations

from alembic import op

__all__ = ["make_index"]

# Nobody waits for who makes an index so, and it waits for whatever is under way everywhere.
_WAIT = "SET lock_timeout = 0"
_GIVE_WAY_AGAIN = "SET lock_timeout = '2s'"


def make_index(name: str, create: str) -> None:
    """Make an index, and the one of this name away that was there before.

    What an attempt that broke off has left is of no use, and in the way of the next one. What the
    revision did before is committed: it must bear being done again.

    Args:
        name: Of the index.
        create: `CREATE INDEX CONCURRENTLY` of that name.
    """
    with op.get_context().autocommit_block():
        op.execute(_WAIT)
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(create)
        op.execute(_GIVE_WAY_AGAIN)
