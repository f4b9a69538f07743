"""Webhooks of a connection that are handled together: begun, and written down as they ended.

What a webhook's script did is written in one transaction with its run and its task, and that of
many webhooks in one transaction. So each webhook is either handled or still to be handled, and
all of this may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import structlog
from temporalio import activity

from activities.records import BatchInput, BatchVerb, RecordActivities
from activities.run_counts import count_end, count_records
from activities.runs import LogEntry, run_start
from activities.webhook_tasks import WebhookTaskActivities
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.pool import DbConnection
from perdure.db.runs import EndedRun, LogLine, RunEnd, RunStatus
from perdure.db.webhook_events import TaskStatus
from perdure.errors import PerdureError, UnavailableError
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.temporal.payloads import Payload, RunContext, WebhookInput
from perdure.webhooks.incoming import IncomingWebhook

__all__ = [
    "CommitWebhooks",
    "CommittedWebhooks",
    "HeldWebhook",
    "HeldWrite",
    "StartWebhooks",
    "StartedWebhooks",
    "WebhookBatchActivities",
    "add_counts",
]


Counts: TypeAlias = dict[str, dict[str, int]]
"""What was done to records, by model; see `perdure.db.record_batches.ModelCounts`."""

log = structlog.get_logger(__name__)


class HeldWrite(Payload):
    """Records that a script wrote and that are held back."""

    verb: BatchVerb
    model: str
    records: list[Any]


class HeldWebhook(Payload):
    """A webhook whose script has ended well, with what it did.

    Attributes:
        run_id: Id of its run.
    """

    task_id: int
    run_id: str
    started_at: datetime
    writes: list[HeldWrite] = []
    lines: list[LogEntry] = []


class StartWebhooks(Payload):
    """Webhooks that are to be handled together."""

    webhook: WebhookInput
    started_at: datetime


class StartedWebhooks(Payload):
    """What handling webhooks together begins with; it is encrypted wherever it travels.

    Attributes:
        context: What their runs have in common; None where they cannot be handled together.
        payloads: What the provider has sent, decoded; fewer than there are webhooks where one of
            them is not to be handled any more.
    """

    context: RunContext | None = None
    payloads: list[Any] = []

    def holds_secret(self) -> bool:
        """See base class."""
        return True


class CommitWebhooks(Payload):
    """Webhooks whose scripts have ended well, in their order."""

    context: RunContext
    webhooks: list[HeldWebhook]


class CommittedWebhooks(Payload):
    """How many of the webhooks were written down; the others are still to be handled.

    Attributes:
        counts: What they did to records, by model.
    """

    count: int
    counts: Counts = {}


class WebhookBatchActivities:
    """Steps around webhooks that are handled together.

    Args:
        database: Our own data.
        records: Writes records.
        tasks: Knows what a webhook's run begins with.
    """

    def __init__(
        self, database: Database, records: RecordActivities, tasks: WebhookTaskActivities
    ) -> None:
        self._database = database
        self._records = records
        self._tasks = tasks

    @activity.defn
    async def start_webhooks(self, start: StartWebhooks) -> StartedWebhooks:
        """Return what webhooks say, and what their runs have in common.

        Raises:
            DecryptionError: The key ring cannot read one of them.
        """
        wanted = (start.webhook.task_id, *start.webhook.together)
        found = await self._database.webhook_events.tasks_in_full(wanted)
        payloads = []
        for task_id in wanted:
            task = found.get(task_id)
            if task is None or task.status is not TaskStatus.PENDING:
                break
            try:
                payloads.append(IncomingWebhook(task.headers, task.body).payload)
            except PerdureError:
                break
        if not payloads:
            return StartedWebhooks()
        context = await self._tasks.context_of(
            found[wanted[0]], run_id="", started_at=start.started_at
        )
        started = await self._begun(context) if context else None
        return StartedWebhooks(context=started, payloads=payloads) if started else StartedWebhooks()

    @activity.defn
    async def commit_webhooks(self, commit: CommitWebhooks) -> CommittedWebhooks:
        """Write down what webhooks did, and that they were handled, up to the first that fails."""
        together = await self._written(commit, commit.webhooks)
        if together is not None:
            return together
        count, counts = 0, Counts()
        for webhook in commit.webhooks:
            one = await self._written(commit, [webhook])
            if one is None or not one.count:
                break
            count += 1
            add_counts(counts, one.counts)
        return CommittedWebhooks(count=count, counts=counts)

    async def _written(
        self, commit: CommitWebhooks, webhooks: Sequence[HeldWebhook]
    ) -> CommittedWebhooks | None:
        """Write webhooks down; returns None where one of them cannot be, and nothing was."""
        try:
            return await self._commit(commit, webhooks)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - its own run meets it again, and tells of it
            log.info("webhooks_not_together", count=len(webhooks), error=type(error).__name__)
            return None

    async def _commit(
        self, commit: CommitWebhooks, webhooks: Sequence[HeldWebhook]
    ) -> CommittedWebhooks:
        context, database = commit.context, self._database
        async with database.transaction() as conn:
            if not await self._holds(context, conn):
                return CommittedWebhooks(count=0)
            mine = {webhook.task_id: webhook.run_id for webhook in webhooks}
            is_done = await database.webhook_events.claim(mine, conn=conn)
            taken = list(_until(webhooks, is_done))
            new = [webhook for webhook in taken if not is_done[webhook.task_id]]
            counts = [await self._write(context, webhook, conn) for webhook in new]
            await self._note(context, new, counts, conn)
        total: Counts = {}
        for one in counts:
            add_counts(total, one)
        for webhook in new:
            count_end(_ended_well(context, webhook))
        for model, done in total.items():
            count_records(context, model, done)
        return CommittedWebhooks(count=len(taken), counts=total)

    async def _begun(self, context: RunContext) -> RunContext | None:
        """Give the runs the id of their sync; None where a deploy or a deletion came between."""
        key = ConnectionKey(context.connection_key)
        async with self._database.transaction() as conn:
            if not await self._holds(context, conn):
                return None
            row = await self._database.syncs.ensure(key, context.script, conn=conn)
        return context.model_copy(update={"sync_id": str(row.id)})

    async def _holds(self, context: RunContext, conn: DbConnection) -> bool:
        """Keep deploys and the deletion of the connection back; False where one was first."""
        active = await self._database.environments.hold_bundle(
            EnvironmentId(context.environment_id), conn=conn
        )
        key = ConnectionKey(context.connection_key)
        return active == context.bundle and await self._database.lifecycle.hold(key, conn=conn)

    async def _write(self, context: RunContext, webhook: HeldWebhook, conn: DbConnection) -> Counts:
        own = context.model_copy(update={"run_id": webhook.run_id})
        counts: Counts = {}
        for write in webhook.writes:
            batch = BatchInput(context=own, model=write.model, records=write.records)
            result = await self._records.write(write.verb, batch, conn)
            if result.duplicates or result.ignored:
                msg = "A batch about which there is something to say has a run of its own."
                raise PerdureError(msg)
            add_counts(counts, {write.model: dict(result.counts)})  # type: ignore[arg-type]  # integers
        return counts

    async def _note(
        self,
        context: RunContext,
        webhooks: Sequence[HeldWebhook],
        counts: Sequence[Counts],
        conn: DbConnection,
    ) -> None:
        if not webhooks:
            return
        ended_at = utcnow()
        starts = [
            run_start(
                context.model_copy(
                    update={"run_id": webhook.run_id, "started_at": webhook.started_at}
                )
            )
            for webhook in webhooks
        ]
        await self._database.runs.add_ended(
            [EndedRun(start, made) for start, made in zip(starts, counts, strict=True)],
            finished_at=ended_at,
            temporal_run_id=activity.info().workflow_run_id or "",
            conn=conn,
        )
        for webhook in webhooks:
            lines = [
                LogLine(line.at, line.level, line.message, step_id=f"together:{number}")
                for number, line in enumerate(webhook.lines)
            ]
            await self._database.runs.append_logs(webhook.run_id, lines, conn=conn)
        await self._database.webhook_events.end_well(
            {webhook.task_id: webhook.run_id for webhook in webhooks},
            finished_at=ended_at,
            conn=conn,
        )


def _ended_well(context: RunContext, webhook: HeldWebhook) -> RunEnd:
    return RunEnd(
        environment=context.environment,
        integration=context.integration,
        kind=context.kind,
        script=context.script,
        status=RunStatus.SUCCESS,
        started_at=webhook.started_at,
        finished_at=utcnow(),
        dry_run=False,
    )


def _until(webhooks: Sequence[HeldWebhook], known: dict[int, bool]) -> Sequence[HeldWebhook]:
    """Return webhooks up to the first that somebody else has begun with."""
    taken = []
    for webhook in webhooks:
        if webhook.task_id not in known:
            break
        taken.append(webhook)
    return taken


def add_counts(total: Counts, more: Mapping[str, Mapping[str, int]]) -> None:
    """Add what was done to records to what was done before."""
    for model, counts in more.items():
        before = total.setdefault(model, {})
        for name, number in counts.items():
            before[name] = before.get(name, 0) + number
