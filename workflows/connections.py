"""The `connection-create` and `connection-delete` workflows."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.connections import ConnectionActivities
    from activities.schedules import Reconciled, ScheduleActivities
    from activities.webhooks import WebhookActivities
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from perdure.temporal.payloads import ConnectionInput
    from workflows.steps import run_step
    from workflows.webhooks import start_deliveries

__all__ = ["CreateConnection", "DeleteConnection"]


@workflow.defn(name=WorkflowType.CONNECTION_CREATE)
class CreateConnection:
    """What follows when a connection was stored: it is told, and its syncs get their schedules."""

    @workflow.run
    async def run(self, connection: ConnectionInput) -> Reconciled:
        """Make the schedules; those that start by themselves start their first run."""
        if connection.operation is not None:
            told = await run_step(
                WebhookActivities.tell_of_connection,
                connection,
                summary=f"note the {connection.operation} of {connection.connection_id}",
                policy=policies.BOOKKEEPING,
            )
            await start_deliveries(connection.environment, told.ids)
        return await run_step(
            ScheduleActivities.ensure_connection_schedules,
            connection,
            summary=f"schedule the syncs of {connection.connection_id}",
            policy=policies.SCHEDULES,
        )


@workflow.defn(name=WorkflowType.CONNECTION_DELETE)
class DeleteConnection:
    """Ends what runs for a connection, then deletes it with its syncs and records."""

    @workflow.run
    async def run(self, connection: ConnectionInput) -> None:
        """Delete the connection; deleting one that is gone does nothing."""
        await run_step(
            ScheduleActivities.delete_connection_schedules,
            connection,
            summary=f"delete the schedules of {connection.connection_id}",
            policy=policies.SCHEDULES,
        )
        await run_step(
            ConnectionActivities.delete_connection,
            connection,
            summary=f"delete {connection.connection_id} and its records",
            policy=policies.RECORDS,
        )
