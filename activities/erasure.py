"""Erases records that no deployed sync answers for, and never what one of them has saved.

Deploys, connections and runs get to it at the same time. A sync has a row before it saves, and
erasing takes turns with saving: where the row of a sync that declares the model is there, the
records are its own.
"""

from __future__ import annotations

from activities.bundles import BundleCache
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.records import RecordSet
from perdure.db.runs import LogLine
from perdure.ids import BundleHash, ConnectionKey, EnvironmentId
from perdure.temporal.payloads import RunContext

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

    async def erase_leftovers(self, context: RunContext) -> None:
        """Erase what a run saved after a deploy had erased the model: it kept its old bundle.

        Args:
            context: The run, which is about to end.
        """
        environment_id = EnvironmentId(context.environment_id)
        bundle = (await self._database.environments.by_id(environment_id)).active_bundle
        if bundle is None or bundle == context.bundle:
            return
        found = (await self._bundles.config(bundle)).integration(context.integration)
        declared = found.sync(context.script) if found else None
        key = ConnectionKey(context.connection_key)
        if declared is None:
            rows = await self._database.syncs.of_connections([key])
            if any((row.name, row.variant) == (context.script, context.variant) for row in rows):
                # A deploy is still to remove the sync, with all that it saved.
                return
        run = await self._database.runs.get(environment_id, context.run_id)
        for model in sorted(run.counts.keys() - set(declared.output if declared else ())):
            target = RecordSet(key, model, context.variant)
            if await self.erase(target, context.integration, bundle):
                message = (
                    f"What was saved as {model} was erased: a deploy took the model away from "
                    f"{context.script} while it ran."
                )
                line = LogLine(utcnow(), "warn", message, step_id=f"erased:{model}")
                await self._database.runs.append_logs(context.run_id, [line])
