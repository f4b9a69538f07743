"""What is done from time to time: settling what nobody settled, giving up what need not be kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from temporalio import activity

from activities.bundles import BundleCache
from activities.run_settling import RunSettling
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.record_pruning import UntouchedSet
from perdure.db.records import RecordSet
from perdure.db.runs import Run
from perdure.ids import EnvironmentId, action_workflow_id
from perdure.temporal.payloads import Payload

__all__ = ["MaintenanceActivities", "Retention", "Sweep", "Swept"]

_SETS_AT_ONCE = 100
_CONCURRENCY = 8
# A run that just began, or just ended, is about to say so itself.
_YOUNG = timedelta(minutes=1)


class _Drop(Protocol):
    async def __call__(self, before: datetime, /, *, limit: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept; None is for ever.

    Attributes:
        payloads: Payloads of records that do not change.
        idle_records: Records whose sync does not run.
        webhooks: What providers have sent and has been handled; a delivery that is repeated later
            is handled again.
        keys: Idempotency keys of actions that have ended, from when they came first; a call that
            is repeated later is another call.
        runs: Runs that have ended, with their logs.
        audit: What was done with which key.
        deliveries: Webhooks to the application that were delivered or given up.
    """

    payloads: timedelta | None
    idle_records: timedelta | None
    webhooks: timedelta | None = None
    keys: timedelta | None = None
    runs: timedelta | None = None
    audit: timedelta | None = None
    deliveries: timedelta | None = None


class Sweep(Payload):
    """How a step goes about it.

    Attributes:
        batch: Most records in one transaction.
        runs: Most runs that are looked at together.
    """

    batch: int = 5_000
    runs: int = 500


class Swept(Payload):
    """How much was given up."""

    count: int = 0


class MaintenanceActivities:
    """Steps of the maintenance. Repeating one does no harm.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
        retention: How long things are kept.
        settling: Ends the rows of runs.
    """

    def __init__(
        self,
        database: Database,
        bundles: BundleCache,
        retention: Retention,
        settling: RunSettling,
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._retention = retention
        self._settling = settling

    @activity.defn
    async def settle_runs(self, sweep: Sweep) -> Swept:
        """End the rows of runs that could not do so themselves, and runs that could not end."""
        before, count, after = utcnow() - _YOUNG, 0, None
        runs = self._database.runs
        while found := await runs.unsettled(before, after=after, limit=sweep.runs):
            limit = asyncio.Semaphore(_CONCURRENCY)

            async def settle(run: Run, limit: asyncio.Semaphore = limit) -> bool:
                async with limit:
                    return await self._settling.settle(run) is not None

            count += sum(await asyncio.gather(*(settle(run) for run in found)))
            after = found[-1]
        return Swept(count=count)

    @activity.defn
    async def prune_old_records(self, sweep: Sweep) -> Swept:
        """Give up payloads that are older than is kept."""
        if self._retention.payloads is None:
            return Swept()
        before, count, after = utcnow() - self._retention.payloads, 0, None
        pruning = self._database.record_pruning
        while targets := await pruning.due(before, after=after, limit=_SETS_AT_ONCE):
            for target in targets:
                while pruned := await pruning.prune_older(target, before, limit=sweep.batch):
                    count += pruned
            after = targets[-1]
        return Swept(count=count)

    @activity.defn
    async def drop_idle_records(self, sweep: Sweep) -> Swept:
        """Remove the records of syncs that have not run for longer than is kept.

        When such a sync runs again it fetches everything anew.
        """
        if self._retention.idle_records is None:
            return Swept()
        before, count, after = utcnow() - self._retention.idle_records, 0, None
        pruning = self._database.record_pruning
        while found := await pruning.untouched(before, after=after, limit=_SETS_AT_ONCE):
            for untouched in found:
                if await self._is_idle(untouched, before):
                    count += await self._drop(untouched.records, before, sweep.batch)
            after = found[-1].records
        return Swept(count=count)

    @activity.defn
    async def drop_old_webhooks(self, sweep: Sweep) -> Swept:
        """Remove what providers have sent longer ago than is kept, and has been handled."""
        return await self._drop_all(
            self._database.webhook_events.drop_older, self._retention.webhooks, sweep
        )

    @activity.defn
    async def drop_old_keys(self, sweep: Sweep) -> Swept:
        """Forget idempotency keys of actions that came longer ago than is kept, and have ended."""
        if self._retention.keys is None:
            return Swept()
        before, count, after = utcnow() - self._retention.keys, 0, None
        actions = self._database.actions
        while keys := await actions.old_keys(before, after=after, limit=sweep.batch):
            workflows = {key: action_workflow_id(key.environment, str(key.id)) for key in keys}
            open_ = await self._database.runs.under_way(list(workflows.values()))
            ended = [key for key in keys if workflows[key] not in open_]
            await actions.drop_keys(ended)
            count, after = count + len(ended), keys[-1]
        return Swept(count=count)

    @activity.defn
    async def drop_old_runs(self, sweep: Sweep) -> Swept:
        """Remove runs that ended longer ago than is kept, with all that is theirs."""
        if self._retention.runs is None:
            return Swept()
        before, count = utcnow() - self._retention.runs, 0
        for environment in await self._database.environments.all():
            count += await self._drop_runs(environment.id, before, sweep)
        return Swept(count=count)

    @activity.defn
    async def drop_old_audit(self, sweep: Sweep) -> Swept:
        """Forget what was done longer ago than is kept."""
        return await self._drop_all(self._database.audit.drop_older, self._retention.audit, sweep)

    @activity.defn
    async def drop_old_deliveries(self, sweep: Sweep) -> Swept:
        """Remove webhooks to the application that ended longer ago than is kept."""
        return await self._drop_all(
            self._database.deliveries.drop_ended, self._retention.deliveries, sweep
        )

    async def _drop_all(self, drop: _Drop, kept: timedelta | None, sweep: Sweep) -> Swept:
        if kept is None:
            return Swept()
        before, count = utcnow() - kept, 0
        while dropped := await drop(before, limit=sweep.batch):
            count += dropped
        return Swept(count=count)

    async def _drop_runs(self, environment: EnvironmentId, before: datetime, sweep: Sweep) -> int:
        runs, count, after = self._database.run_retention, 0, None
        while True:
            old = await runs.old(environment, before, after=after, limit=sweep.runs)
            if old.last is None:
                return count
            # Long logs first, a portion at a time.
            while await runs.drop_logs(old.due, before, limit=sweep.batch):
                pass
            count += await runs.drop(old.due, before)
            after = old.last

    async def _is_idle(self, untouched: UntouchedSet, before: datetime) -> bool:
        """Say whether no sync that saves these records ran; its next run is to fetch all anew."""
        key, variant = untouched.records.connection_key, untouched.records.variant
        syncs = await self._saved_by(untouched)
        for sync in syncs:
            run = await self._database.runs.latest(key, sync, variant)
            if run is not None and run.started_at >= before:
                return False
        for sync in syncs:
            await self._database.syncs.set_last_sync_date(key, sync, None, variant)
        return True

    async def _drop(self, target: RecordSet, before: datetime, batch: int) -> int:
        count = 0
        while dropped := await self._database.record_pruning.drop(target, before, limit=batch):
            count += dropped
        return count

    async def _saved_by(self, untouched: UntouchedSet) -> list[str]:
        if untouched.active_bundle is None:
            return []
        config = await self._bundles.config(untouched.active_bundle)
        integration = config.integration(untouched.integration)
        return [
            sync.name
            for sync in (integration.syncs if integration else ())
            if untouched.records.model in sync.output
        ]
