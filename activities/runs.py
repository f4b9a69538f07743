"""The record of a run in our own database: how it began, what it logged, how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from temporalio import activity

from activities.bundles import BundleCache
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.runs import LogLevel, LogLine, RunStart, RunStatus
from perdure.errors import NotFoundError
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import Payload, RunContext, SyncInput

__all__ = [
    "FinishRunInput",
    "LogEntry",
    "LogInput",
    "RunActivities",
    "RunStatus",
    "StartSyncInput",
    "run_start",
]


class StartSyncInput(Payload):
    """A sync run that begins."""

    sync: SyncInput
    started_at: datetime


class FinishRunInput(Payload):
    """A run that ends.

    Attributes:
        error: Why it failed, as `describe_failure` gives it.
    """

    context: RunContext
    status: RunStatus
    error: dict[str, Any] | None = None


class LogEntry(Payload):
    """One line of a run's log."""

    at: datetime
    level: LogLevel
    message: str


class LogInput(Payload):
    """Lines that are written together; batch numbers grow by one within a run."""

    context: RunContext
    batch: int
    lines: list[LogEntry]


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
        connection_key=ConnectionKey(context.connection_key),
        variant=context.variant,
        bundle_hash=context.bundle,
    )


class RunActivities:
    """Steps at the edges of a run. All of them may be repeated."""

    def __init__(self, database: Database, bundles: BundleCache) -> None:
        self._database = database
        self._bundles = bundles

    @activity.defn
    async def start_sync(self, start: StartSyncInput) -> RunContext | None:
        """Note that a sync run began, and pin it to the environment's active bundle.

        Returns:
            What the run needs to know; None when connection or sync are gone, which happens to
            a run that was scheduled a moment before they were deleted.
        """
        sync = start.sync
        try:
            connection = await self._database.connections.by_key(ConnectionKey(sync.connection_key))
            environment = await self._database.environments.by_id(
                EnvironmentId(sync.environment_id)
            )
        except NotFoundError:
            return None
        if environment.active_bundle is None:
            return None
        config = await self._bundles.config(environment.active_bundle)
        integration = config.integration(sync.integration)
        declared = integration.sync(sync.sync) if integration else None
        if declared is None:
            return None
        row = await self._database.syncs.ensure(connection.key, sync.sync, sync.variant)
        info = activity.info()
        context = RunContext(
            run_id=info.workflow_run_id or "",
            workflow_id=info.workflow_id or "",
            started_at=start.started_at,
            environment=sync.environment,
            environment_id=sync.environment_id,
            integration=sync.integration,
            provider=connection.provider,
            connection_id=sync.connection_id,
            connection_key=sync.connection_key,
            kind=WorkflowType.SYNC,
            script=sync.sync,
            variant=sync.variant,
            bundle=environment.active_bundle,
            sync_id=str(row.id),
            models=declared.output,
            last_sync_date=row.last_sync_date,
            validation=environment.validation,
            input=declared.input,
            full=declared.sync_type == "full",
            track_deletes=declared.sync_type == "full" and declared.track_deletes,
            retry_limit=declared.retry_limit,
            delete_guard=declared.delete_guard,
        )
        await self._database.runs.start(run_start(context))
        return context

    @activity.defn
    async def finish_sync(self, finish: FinishRunInput) -> dict[str, dict[str, int]]:
        """Note how a sync run ended; a success moves the sync's last date to the run's start.

        Returns:
            What the run did to records, by model, as the database counted it.
        """
        context = finish.context
        async with self._database.transaction() as conn:
            await self._database.runs.finish(
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
                    conn=conn,
                )
        run = await self._database.runs.get(EnvironmentId(context.environment_id), context.run_id)
        return {model: dict(counts) for model, counts in run.counts.items()}  # type: ignore[arg-type]  # a TypedDict of integers

    @activity.defn
    async def write_log(self, log: LogInput) -> None:
        """Write lines to the run's log, each of them once."""
        await self._database.runs.start(run_start(log.context))
        await self._database.runs.append_logs(
            log.context.run_id,
            [
                LogLine(line.at, line.level, line.message, step_id=f"{log.batch}:{number}")
                for number, line in enumerate(log.lines)
            ],
        )
