"""The `connection-create` and `connection-delete` workflows.

Each is one at a time for a connection, and goes on where it was whatever dies in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.connection_setups import (
        ConnectionSetupActivities,
        FinishSetup,
        Refusal,
        Setup,
        SetupVersion,
    )
    from activities.connections import ConnectionActivities
    from activities.schedules import Reconciled, ScheduleActivities
    from activities.webhooks import WebhookActivities
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from perdure.temporal.payloads import ConnectionInput
    from workflows.hooks import FailedHook, run_hook, run_hooks
    from workflows.steps import run_at_once, run_step
    from workflows.webhooks import start_deliveries

__all__ = ["CreateConnection", "DeleteConnection"]

_HOOKS = "connection-hooks"
_AT_ONCE = "connection-setups-note-at-once"

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")


@workflow.defn(name=WorkflowType.CONNECTION_CREATE)
class CreateConnection:
    """What follows when a connection was given credentials, its first ones or others.

    Scripts check them, others run because the connection is new, its syncs get their schedules,
    and the application is told. Where others are given meanwhile, these are set up as well.
    """

    @workflow.run
    async def run(self, connection: ConnectionInput) -> Reconciled:
        """Set a connection up; its syncs that start by themselves start their first run.

        Raises:
            ApplicationError: `connection_validation_failed`, a script refused the credentials that
                came last: a new connection is gone then, another one is marked.
                `connection_being_deleted`.
        """
        if not workflow.patched(_HOOKS):
            return await _create_without_hooks(connection)
        while True:
            setup = await _note(
                ConnectionSetupActivities.begin_setup,
                connection,
                summary=f"look what {connection.connection_id} needs",
            )
            if setup.state == "gone":
                return Reconciled()
            if setup.state == "deleting":
                msg = f"The connection {connection.connection_id!r} is being deleted."
                raise ApplicationError(msg, type="connection_being_deleted", non_retryable=True)
            failure = await self._validate(connection, setup)
            if failure is not None:
                await self._refuse(connection, setup, failure)
                continue
            await run_hooks(setup.creations)
            reconciled = await _ensure_schedules(connection)
            if not await self._finish(connection, setup):
                return reconciled

    async def _validate(self, connection: ConnectionInput, setup: Setup) -> FailedHook | None:
        for hook in setup.validations:
            failure = await run_hook(hook)
            if failure is not None:
                return failure
        if setup.validations:
            await _note(
                ConnectionSetupActivities.note_validated,
                SetupVersion(connection_key=connection.connection_key, version=setup.version),
                summary=f"the credentials of {connection.connection_id} are good",
            )
        return None

    async def _refuse(self, connection: ConnectionInput, setup: Setup, failure: FailedHook) -> None:
        """Refuse credentials, and fail unless newer ones came in meanwhile."""
        what = "delete" if setup.is_new else "mark"
        refused = await run_step(
            ConnectionSetupActivities.refuse_credentials,
            Refusal(
                connection_key=connection.connection_key,
                version=setup.version,
                run_id=failure.run_id,
                environment=connection.environment,
                operation=setup.operation,
                message=failure.error["message"],
            ),
            summary=f"{what} {connection.connection_id}, whose credentials were refused",
            policy=policies.BOOKKEEPING,
        )
        await start_deliveries(connection.environment, refused.deliveries)
        if refused.is_overtaken:
            return
        details = {"payload": failure.error["payload"]} if "payload" in failure.error else {}
        raise ApplicationError(
            failure.error["message"],
            details,
            type="connection_validation_failed",
            non_retryable=True,
        )

    async def _finish(self, connection: ConnectionInput, setup: Setup) -> bool:
        """Note the end of a setup, and tell of it; returns whether another one is due."""
        finished = await _note(
            ConnectionSetupActivities.finish_setup,
            FinishSetup(
                connection_key=connection.connection_key,
                version=setup.version,
                environment=connection.environment,
                operation=setup.operation,
            ),
            summary=f"{connection.connection_id} is set up",
        )
        await start_deliveries(connection.environment, finished.deliveries)
        return finished.is_overtaken


@workflow.defn(name=WorkflowType.CONNECTION_DELETE)
class DeleteConnection:
    """Lets hooks run, ends what runs for a connection, then deletes it with all it has."""

    @workflow.run
    async def run(self, connection: ConnectionInput) -> None:
        """Delete the connection; deleting one that is gone does nothing."""
        if workflow.patched(_HOOKS):
            deletion = await run_step(
                ConnectionSetupActivities.begin_deletion,
                connection,
                summary=f"let nothing new begin for {connection.connection_id}",
                policy=policies.SCHEDULES,
            )
            await run_hooks(deletion.hooks)
        await run_step(
            ScheduleActivities.delete_connection_schedules,
            connection,
            summary=f"delete the schedules of {connection.connection_id} and end its runs",
            policy=policies.SCHEDULES,
        )
        await run_step(
            ConnectionActivities.delete_connection,
            connection,
            summary=f"delete {connection.connection_id} and its records",
            policy=policies.WHOLE_SET,
        )


async def _note(
    activity: Callable[[Any, ArgumentT], Awaitable[ResultT]], argument: ArgumentT, *, summary: str
) -> ResultT:
    """Read or write a few rows of our own, without a task of its own.

    Tasks are most of what a connection costs the server, and whoever makes it waits for them.
    """
    if workflow.patched(_AT_ONCE):
        return await run_at_once(activity, argument, summary=summary)
    return await run_step(activity, argument, summary=summary, policy=policies.BOOKKEEPING)


async def _ensure_schedules(connection: ConnectionInput) -> Reconciled:
    return await run_step(
        ScheduleActivities.ensure_connection_schedules,
        connection,
        summary=f"schedule the syncs of {connection.connection_id}",
        policy=policies.SCHEDULES,
    )


async def _create_without_hooks(connection: ConnectionInput) -> Reconciled:
    """Do what was done before there were hooks."""
    if connection.operation is not None:
        told = await run_step(
            WebhookActivities.tell_of_connection,
            connection,
            summary=f"note the {connection.operation} of {connection.connection_id}",
            policy=policies.BOOKKEEPING,
        )
        await start_deliveries(connection.environment, told.ids)
    return await _ensure_schedules(connection)
