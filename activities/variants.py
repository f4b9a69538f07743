"""Deletes variants of syncs."""

from __future__ import annotations

from contextlib import suppress

from temporalio import activity

from activities.bundles import BundleCache
from activities.sync_runs import SyncRuns
from perdure.db.checkpoints import checkpoint_key
from perdure.db.database import Database
from perdure.db.records import RecordSet
from perdure.errors import NotFoundError
from perdure.ids import ConnectionKey, EnvironmentId, shadow_variant
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import SyncInput

__all__ = ["VariantActivities"]

_ERASED_AT_ONCE = 10_000


class VariantActivities:
    """The step that deletes a variant.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
        runs: Ends runs.
    """

    def __init__(self, database: Database, bundles: BundleCache, runs: SyncRuns) -> None:
        self._database = database
        self._bundles = bundles
        self._runs = runs

    @activity.defn
    async def delete_variant(self, sync: SyncInput) -> int:
        """Delete a variant with its schedule, its runs, its checkpoint and its records.

        Records are erased as long as nobody makes the variant anew: then they are that one's.

        Returns:
            How many records were erased.
        """
        key = ConnectionKey(sync.connection_key)
        await self._runs.remove(sync, "the variant of its sync was deleted")
        # It may be gone by an attempt before this one, or with its connection.
        with suppress(NotFoundError):
            await self._database.syncs.delete(key, sync.sync, sync.variant)
        variants = (sync.variant, shadow_variant(sync.variant))
        keys = (checkpoint_key(WorkflowType.SYNC, sync.sync, name) for name in variants)
        await self._database.checkpoints.delete(key, *keys)
        erased = 0
        for model in await self._models(sync):
            for variant in variants:
                target = RecordSet(key, model, variant)
                erased += await self._erase(target, keeper=sync.sync)
        return erased

    async def _models(self, sync: SyncInput) -> tuple[str, ...]:
        environment = await self._database.environments.by_id(EnvironmentId(sync.environment_id))
        if environment.active_bundle is None:
            return ()
        config = await self._bundles.config(environment.active_bundle)
        integration = config.integration(sync.integration)
        declared = integration.sync(sync.sync) if integration else None
        return declared.output if declared else ()

    async def _erase(self, target: RecordSet, *, keeper: str) -> int:
        erased = 0
        count = _ERASED_AT_ONCE
        while count == _ERASED_AT_ONCE:
            count = await self._database.record_sets.erase(
                target, bundle=None, keepers=[keeper], limit=_ERASED_AT_ONCE
            )
            erased += count
        return erased
