"""The record of a run in our own database: how it began, what it logged, how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import model_validator
from temporalio import activity
from temporalio.client import Client

from activities.bundles import BundleCache, script_files
from activities.erasure import Erasure
from activities.run_counts import count_end
from activities.run_settling import RunSettling
from activities.webhook_outbox import WebhookOutbox
from config.project import Sync as DeclaredSync
from perdure.clock import utcnow
from perdure.db.checkpoints import checkpoint_key
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.pool import DbConnection
from perdure.db.runs import LogLevel, LogLine, Run, RunStart, RunStatus
from perdure.errors import NotFoundError
from perdure.ids import BASE_VARIANT, BundleHash, ConnectionKey, EnvironmentId, shadow_variant
from perdure.nango import LoggerLevel
from perdure.nango.values import LOG_LEVELS
from perdure.observability.metrics import SCHEDULE_LAG_SECONDS
from perdure.scripts.bundle import ScriptKind
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import HistoryLimits, Payload, RunContext, SyncInput

__all__ = [
    "LOG_LEVEL_VARIABLE",
    "FinishRunInput",
    "FinishedRun",
    "LogEntry",
    "LogInput",
    "RunActivities",
    "RunStatus",
    "StartSyncInput",
    "as_log_level",
    "log_level_of",
    "run_start",
]

# What a script calls by its name; a look at its text costs less than notes that nobody reads.
_NEEDS_NOTES = "delete_records_from_previous_executions"


LOG_LEVEL_VARIABLE = "NANGO_LOGGER_LEVEL"
"""Variable of an environment that says which lines of scripts its logs keep."""


class StartSyncInput(Payload):
    """A sync run that begins.

    Attributes:
        due_at: When its schedule wanted it to, None where no schedule did.
    """

    sync: SyncInput
    started_at: datetime
    due_at: datetime | None = None


class FinishRunInput(Payload):
    """A run that ends.

    Attributes:
        error: Why it failed, as `describe_failure` gives it.
    """

    context: RunContext
    status: RunStatus
    error: dict[str, Any] | None = None


class FinishedRun(Payload):
    """A run that has ended.

    Attributes:
        counts: What it did to records, by model, as the database counted it.
        deliveries: Ids of the webhooks that tell of it and are to be started.
    """

    counts: dict[str, dict[str, int]] = {}
    deliveries: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _from_counts(cls, value: Any) -> Any:
        """Read what a run of an earlier release recorded: the counts alone."""
        if isinstance(value, dict) and not isinstance(value.get("deliveries"), list):
            return {"counts": value}
        return value


class LogEntry(Payload):
    """One line of a run's log."""

    at: datetime
    level: LogLevel
    message: str


class LogInput(Payload):
    """Lines that are written together; batch numbers grow by one within an execution."""

    context: RunContext
    batch: int
    lines: list[LogEntry]


@dataclass(frozen=True, slots=True)
class _Pinned:
    """What a run that starts is pinned to."""

    connection: Connection
    environment: Environment
    bundle: BundleHash
    declared: DeclaredSync
    log_level: LoggerLevel


def run_start(context: RunContext) -> RunStart:
    """Return the row of a run that begins."""
    return RunStart(
        id=context.run_id,
        workflow_id=context.workflow_id,
        environment_id=EnvironmentId(context.environment_id),
        kind=context.kind,
        script=context.script,
        started_at=context.started_at,
        integration=context.integration,
        connection_id=context.connection_id,
        connection_key=None if context.dry_run else ConnectionKey(context.connection_key),
        variant=context.variant,
        bundle_hash=context.bundle,
        dry_run=context.dry_run,
    )


async def log_level_of(database: Database, environment_id: EnvironmentId) -> LoggerLevel:
    """Return which lines of scripts an environment's logs keep, where scripts say nothing."""
    return as_log_level(await database.variables.get(environment_id, LOG_LEVEL_VARIABLE))


def as_log_level(value: str | None) -> LoggerLevel:
    """Return which lines are kept by the value of `LOG_LEVEL_VARIABLE`."""
    level = (value or "").strip().lower()
    return "off" if level == "off" else LOG_LEVELS.get(level, "info")


class RunActivities:
    """Steps at the edges of a run. All of them may be repeated.

    Args:
        database: Where runs are noted.
        bundles: What is deployed.
        erasure: Clears away what a run leaves that a deploy has overtaken.
        client: Says how runs stand.
        history: How long a run's history may get.
    """

    def __init__(
        self,
        database: Database,
        bundles: BundleCache,
        erasure: Erasure,
        client: Client,
        history: HistoryLimits,
    ) -> None:
        self._database = database
        self._bundles = bundles
        self._erasure = erasure
        self._client = client
        self._outbox = WebhookOutbox(database)
        self._settling = RunSettling(database, bundles, client)
        self._history = history

    @activity.defn
    async def start_sync(self, start: StartSyncInput) -> RunContext | None:
        """Note that a sync run began, and pin it to the environment's active bundle.

        Returns:
            What the run needs to know; None when connection or sync are gone or on their way out,
            which happens to a run that was scheduled a moment before they were deleted. With
            `blocked_by` the run has nothing to do: a run of the sync that was retried is under way.
        """
        if start.due_at is not None and activity.info().attempt == 1:
            SCHEDULE_LAG_SECONDS.record(
                (utcnow() - start.due_at).total_seconds(), integration=start.sync.integration
            )
        while True:
            pinned = await self._pinned(start.sync)
            if pinned is None:
                return None
            async with self._database.transaction() as conn:
                # A deploy comes either before, and is heeded, or after, and finds row and run.
                held = await self._database.environments.hold_bundle(
                    pinned.environment.id, conn=conn
                )
                if held != pinned.bundle:
                    continue
                if not await self._database.lifecycle.hold(pinned.connection.key, conn=conn):
                    return None
                try:
                    context, other = await self._start(start, pinned, conn)
                except NotFoundError:
                    return None
            # The schedule sees to it that its own runs do not overlap, but it does not know of a
            # run that is retried. Rows of runs that nobody could end are ended here.
            if other is None:
                return context
            if await self._settling.settle(other) is None:
                return context.model_copy(update={"blocked_by": other.id})

    @activity.defn
    async def cancel_start(self, start: StartSyncInput) -> None:
        """Note the start of a run that was cancelled meanwhile, and that it was."""
        context = await self.start_sync(start)
        if context is not None:
            count_end(
                await self._database.runs.finish(
                    context.run_id, RunStatus.CANCELLED, finished_at=utcnow()
                )
            )

    @activity.defn
    async def finish_sync(self, finish: FinishRunInput) -> FinishedRun:
        """Note how a sync run ended; a success moves the sync's last date to the run's start.

        The locks that the run holds are released with it, and what is to be told of it is written
        in the same transaction.
        """
        context = finish.context
        await self._erasure.erase_leftovers(context)
        async with self._database.transaction() as conn:
            await self._database.locks.release_all(context.run_id, conn=conn)
            await self._database.runs.moved(
                context.run_id, activity.info().workflow_run_id or context.run_id, conn=conn
            )
            end = await self._database.runs.finish(
                context.run_id,
                finish.status,
                finished_at=utcnow(),
                error=finish.error,
                conn=conn,
            )
            if finish.status is RunStatus.SUCCESS:
                await self._database.syncs.set_last_sync_date(
                    ConnectionKey(context.connection_key),
                    context.script,
                    context.started_at,
                    context.variant,
                    models=context.models,
                    conn=conn,
                )
            run = await self._database.runs.get(
                EnvironmentId(context.environment_id), context.run_id, conn=conn
            )
            told = await self._outbox.sync_ended(context, run, conn=conn)
        count_end(end)
        return FinishedRun(
            counts={model: dict(counts) for model, counts in run.counts.items()},
            deliveries=[str(delivery) for delivery in told],
        )

    @activity.defn
    async def start_run(self, context: RunContext) -> None:
        """Note that a run began that keeps its own record."""
        await self._database.runs.start(run_start(context))

    @activity.defn
    async def finish_run(self, finish: FinishRunInput) -> None:
        """Note how such a run ended, also one that did not come to note that it began."""
        run, info = run_start(finish.context), activity.info()
        async with self._database.transaction() as conn:
            await self._database.runs.start(run, conn=conn)
            if info.workflow_id == run.workflow_id:
                await self._database.runs.moved(run.id, info.workflow_run_id or run.id, conn=conn)
            end = await self._database.runs.finish(
                run.id, finish.status, finished_at=utcnow(), error=finish.error, conn=conn
            )
        count_end(end)

    @activity.defn
    async def retried_at(self, run_id: str) -> datetime | None:
        """Say when a run was retried last: its time counts from then."""
        return await self._database.runs.retried_at(run_id)

    @activity.defn
    async def write_log(self, log: LogInput) -> None:
        """Write lines to the run's log, each of them once."""
        await self._database.runs.start(run_start(log.context))
        # A run that is retried or continued numbers its lines as its former execution did.
        batch = f"{activity.info().workflow_run_id}:{log.batch}"
        await self._database.runs.append_logs(
            log.context.run_id,
            [
                LogLine(line.at, line.level, line.message, step_id=f"{batch}:{number}")
                for number, line in enumerate(log.lines)
            ],
        )

    async def _pinned(self, sync: SyncInput) -> _Pinned | None:
        try:
            connection = await self._database.connections.by_key(ConnectionKey(sync.connection_key))
            environment = await self._database.environments.by_id(
                EnvironmentId(sync.environment_id)
            )
        except NotFoundError:
            return None
        bundle = environment.active_bundle
        declared = await self._declared(bundle, sync.integration, sync.sync) if bundle else None
        if bundle is None or declared is None:
            return None
        log_level = await log_level_of(self._database, environment.id)
        return _Pinned(connection, environment, bundle, declared, log_level)

    async def _start(
        self, start: StartSyncInput, pinned: _Pinned, conn: DbConnection
    ) -> tuple[RunContext, Run | None]:
        sync, declared = start.sync, pinned.declared
        syncs = self._database.syncs
        # A variant that was deleted does not come back because its run was due.
        row = await (syncs.ensure if sync.variant == BASE_VARIANT else syncs.get)(
            pinned.connection.key, sync.sync, sync.variant, conn=conn
        )
        notes_seen = await self._notes_seen(pinned.bundle, sync.integration, declared)
        info = activity.info()
        context = RunContext(
            run_id=info.workflow_run_id or "",
            workflow_id=info.workflow_id or "",
            started_at=start.started_at,
            environment=sync.environment,
            environment_id=sync.environment_id,
            integration=sync.integration,
            provider=pinned.connection.provider,
            connection_id=sync.connection_id,
            connection_key=sync.connection_key,
            kind=WorkflowType.SYNC,
            script=sync.sync,
            variant=sync.variant,
            bundle=pinned.bundle,
            sync_id=str(row.id),
            models=declared.output,
            validation=pinned.environment.validation,
            input=declared.input,
            full=declared.sync_type == "full",
            track_deletes=declared.sync_type == "full" and declared.track_deletes,
            retry_limit=declared.retry_limit,
            run_timeout=declared.run_timeout,
            delete_guard=declared.delete_guard,
            log_level=pinned.log_level,
            history=self._history,
            credentials_version=pinned.connection.credentials_version,
        )
        other = await self._database.runs.start_alone(run_start(context), conn=conn)
        if other is not None:
            return context, other
        begun = await self._database.resyncs.begin(
            row, context.run_id, models=context.models, conn=conn
        )
        builds_anew = begun.restart == "empty_cache"
        notes_seen = notes_seen and not builds_anew
        await self._begin_tracks(
            context, notes_seen=notes_seen, starts_over=begun.restart is not None, conn=conn
        )
        begins = {
            "last_sync_date": begun.last_sync_date,
            "empty_cache": builds_anew,
            "leftovers": begun.leftovers,
            "notes_seen": notes_seen,
        }
        return context.model_copy(update=begins), None

    async def _begin_tracks(
        self, context: RunContext, *, notes_seen: bool, starts_over: bool, conn: DbConnection
    ) -> None:
        tracks, key = self._database.delete_tracks, ConnectionKey(context.connection_key)
        if starts_over:
            variants = (context.variant, shadow_variant(context.variant))
            keys = (checkpoint_key(context.kind, context.script, v) for v in variants)
            await self._database.checkpoints.reset(key, *keys, conn=conn)
            await tracks.drop_of_sync(key, context.script, context.variant, conn=conn)
        await tracks.begin_run(
            key,
            context.script,
            context.models if notes_seen else (),
            context.run_id,
            context.variant,
            conn=conn,
        )

    async def _declared(
        self, bundle: BundleHash, integration: str, sync: str
    ) -> DeclaredSync | None:
        found = (await self._bundles.config(bundle)).integration(integration)
        return found.sync(sync) if found else None

    async def _notes_seen(self, bundle: BundleHash, integration: str, sync: DeclaredSync) -> bool:
        """Say whether a run may have to know at its end which records it has seen."""
        if sync.sync_type == "full" and sync.track_deletes:
            return True
        stored = await self._bundles.get(bundle)
        try:
            script = script_files(stored, integration, ScriptKind.SYNC, sync.name)
        except NotFoundError:
            return False  # the run itself says so
        return any(_NEEDS_NOTES in source for source in script.files.values())
