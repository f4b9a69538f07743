"""Erases records that no deployed sync answers for, and never what one of them has saved.

Deploys, connections and runs get to it at the same time. A sync has a row before it saves, and
erasing takes turns with saving: where the row of a sync that declares the model is there, the
records are its own.
"""

from __future__ import annotations

from activities.bundles import BundleCache
from perdure.db.database import Database
from perdure.db.records import RecordSet
from perdure.ids import BundleHash

__all__ = ["Erasure"]

_ERASED_AT_ONCE = 10_000


class Erasure:
    """Erases what is left of syncs.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
    """

    def __init__(self, database: Database, bundles: BundleCache) -> None:
        self._database = database
        self._bundles = bundles

    async def erase(self, target: RecordSet, integration: str, bundle: BundleHash) -> int:
        """Erase records in short transactions, so that nobody waits for long.

        Args:
            target: Which records.
            integration: Key of the connection's integration.
            bundle: The active bundle; where it is that no longer, nothing more is erased.

        Returns:
            How many were erased.
        """
        declared = (await self._bundles.config(bundle)).integration(integration)
        keepers = [s.name for s in (declared.syncs if declared else ()) if target.model in s.output]
        erased = 0
        while True:
            count = await self._database.record_sets.erase(
                target, bundle=bundle, keepers=keepers, limit=_ERASED_AT_ONCE
            )
            erased += count
            if count < _ERASED_AT_ONCE:
                return erased
