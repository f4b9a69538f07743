"""Which webhooks follow from what happened, written where and when it happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from temporalio import activity

from perdure.clock import utcnow
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.db.pool import DbConnection
from perdure.db.runs import Run, RunStart, RunStatus
from perdure.db.webhook_deliveries import NewDelivery
from perdure.ids import ConnectionKey, EnvironmentId, action_id_of, action_status_url
from perdure.providers.provider import AuthMode
from perdure.temporal.payloads import RunContext
from perdure.webhooks.body import encode_body
from perdure.webhooks.payloads import (
    AuthOperation,
    AuthSubject,
    SyncSubject,
    async_action_payload,
    auth_payload,
    sync_error_payload,
    sync_success_payload,
    webhook_error,
)
from perdure.webhooks.selection import Destination, destinations, wants_auth, wants_sync_success

__all__ = ["WebhookOutbox"]

_NO_REASON = {"type": "run_timeout", "message": "The run took longer than it may."}


def _step() -> str:
    """Return what names the step under way: the same on each of its attempts, nowhere else."""
    info = activity.info()
    return f"{info.workflow_run_id}/{info.activity_id}"


class WebhookOutbox:
    """Writes deliveries, from inside a step; a step that is repeated does not write them again.

    Args:
        database: Our own data.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def written(self, environment_id: EnvironmentId, *, conn: DbConnection) -> list[UUID]:
        """Return the ids of the deliveries that the step's earlier attempt wrote.

        Args:
            environment_id: Where they belong.
            conn: Connection in a transaction.
        """
        return await self._database.deliveries.add(environment_id, _step(), [], conn=conn)

    async def sync_ended(
        self, context: RunContext, ended: Run, *, step: str | None = None, conn: DbConnection
    ) -> list[UUID]:
        """Write what is to be told of a sync run that ended: a success by model, or a failure.

        Nothing is told of a run that was cancelled.

        Args:
            context: The run as it began.
            ended: The run as it ended.
            step: What is never done twice in this name; otherwise the step under way.
            conn: Connection in the transaction that ends the run.

        Returns:
            Ids of the deliveries, of this call or of the step's earlier attempt.
        """
        environment_id = EnvironmentId(context.environment_id)
        settings = await self._database.webhook_settings.get(environment_id, conn=conn)
        run = SyncSubject(
            connection_id=context.connection_id,
            integration=context.integration,
            sync=context.script,
            variant=context.variant,
            incremental=not context.full and context.last_sync_date is not None,
            started_at=context.started_at,
        )
        told: list[tuple[str, Any]] = []
        if ended.status is RunStatus.SUCCESS:
            told = [
                (
                    f"{context.script}: {model}",
                    sync_success_payload(run, model, changes, ended.checkpoints),
                )
                for model in context.models
                if wants_sync_success(settings, changes := _changes(ended, model))
            ]
        elif ended.status in (RunStatus.FAILED, RunStatus.TIMEOUT) and settings.on_sync_error:
            payload = sync_error_payload(
                run,
                context.models,
                webhook_error(ended.error or _NO_REASON),
                failed_at=ended.finished_at or utcnow(),
            )
            told = [(f"{context.script} failed", payload)]
        step = step or _step()
        if not told:
            return await self._database.deliveries.add(environment_id, step, [], conn=conn)
        key = ConnectionKey(context.connection_key)
        override = await self._database.connections.webhook_url_override(key, conn=conn)
        deliveries = [
            NewDelivery(
                type="sync",
                subject=subject,
                integration=context.integration,
                connection_id=context.connection_id,
                connection_key=key,
                target=destination.target,
                url=destination.url,
                body=encode_body(payload),
                run_id=context.run_id,
            )
            for subject, payload in told
            for destination in destinations(settings, override)
        ]
        return await self._database.deliveries.add(environment_id, step, deliveries, conn=conn)

    async def action_ended(
        self, run: RunStart | Run, *, step: str | None = None, conn: DbConnection
    ) -> list[UUID]:
        """Write that an asynchronous action has ended, however it did.

        Args:
            run: Its run, which has integration and connection.
            step: What is never done twice in this name; otherwise the step under way.
            conn: Connection in the transaction that ends the run.

        Returns:
            Ids of the deliveries, of this call or of the step's earlier attempt.
        """
        integration, connection_id = run.integration or "", run.connection_id or ""
        key = run.connection_key
        settings = await self._database.webhook_settings.get(run.environment_id, conn=conn)
        goes_to: Sequence[Destination] = ()
        if settings.on_async_action_completion and key is not None:
            override = await self._database.connections.webhook_url_override(key, conn=conn)
            goes_to = destinations(settings, override)
        action_id = action_id_of(run.workflow_id)
        payload = async_action_payload(
            connection_id, integration, action_id, action_status_url(action_id)
        )
        deliveries = [
            NewDelivery(
                type="async_action",
                subject=f"{run.script} ended",
                integration=integration,
                connection_id=connection_id,
                connection_key=key,
                target=destination.target,
                url=destination.url,
                body=encode_body(payload),
                run_id=run.id,
            )
            for destination in goes_to
        ]
        return await self._database.deliveries.add(
            run.environment_id, step or _step(), deliveries, conn=conn
        )

    async def credentials_changed(
        self,
        connection: Connection,
        environment: str,
        auth_mode: AuthMode,
        operation: AuthOperation,
        *,
        error: Mapping[str, Any] | None = None,
        occasion: str | None = None,
        conn: DbConnection,
    ) -> list[UUID]:
        """Write what is to be told of new credentials.

        Args:
            connection: Whose credentials.
            environment: Name of the environment.
            auth_mode: How its provider authenticates.
            operation: What was done.
            error: Why they were refused, as `describe_failure` gives it; None where they are good.
            occasion: Names what happened, and keeps it from being told twice; None for the step.
            conn: Connection in a transaction.

        Returns:
            Ids of the deliveries, of this call or of an earlier one on the same occasion.
        """
        settings = await self._database.webhook_settings.get(connection.environment_id, conn=conn)
        goes_to: Sequence[Destination] = ()
        if wants_auth(settings, operation):
            goes_to = destinations(settings, connection.webhook_url_override)
        payload = auth_payload(
            AuthSubject(
                connection_id=connection.connection_id,
                integration=connection.integration,
                provider=connection.provider,
                auth_mode=auth_mode,
                environment=environment,
                tags=connection.tags,
                end_user=connection.end_user,
            ),
            operation,
            None if error is None else webhook_error(error),
        )
        refused = " refused" if error is not None else ""
        deliveries = [
            NewDelivery(
                type="auth",
                subject=f"{operation} of {connection.connection_id}{refused}",
                integration=connection.integration,
                connection_id=connection.connection_id,
                connection_key=connection.key,
                target=destination.target,
                url=destination.url,
                body=encode_body(payload),
            )
            for destination in goes_to
        ]
        return await self._database.deliveries.add(
            connection.environment_id, occasion or _step(), deliveries, conn=conn
        )

    async def written_before(self, *, conn: DbConnection) -> list[UUID]:
        """Return the ids of the deliveries that an earlier attempt of the step has written.

        Args:
            conn: Connection in a transaction.
        """
        return await self._database.deliveries.of_step(_step(), conn=conn)


def _changes(run: Run, model: str) -> Mapping[str, int]:
    counts = run.counts.get(model)
    return {} if counts is None else dict(counts)  # type: ignore[arg-type]  # a TypedDict of integers
