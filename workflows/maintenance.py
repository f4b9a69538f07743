"""The `maintenance` workflow, which a schedule starts every few minutes."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.connection_setups import AwaitedSetups, ConnectionSetupActivities
    from activities.credential_refreshes import CredentialActivities, IdleCredentials
    from activities.maintenance import MaintenanceActivities, Sweep
    from activities.payload_sweep import PayloadSweep
    from activities.schedule_repair import ScheduleRepair
    from activities.webhooks import ForgottenDeliveries, WebhookActivities
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from workflows.steps import run_step

__all__ = ["Maintain"]


@workflow.defn(name=WorkflowType.MAINTENANCE)
class Maintain:
    """Settles what nobody settled, and gives up what need not be kept.

    See `PERDURE_RECORDS_*` and the settings that end in `_DAYS`.
    """

    @workflow.run
    async def run(self, sweep: Sweep) -> dict[str, int]:
        """Do everything once.

        Returns:
            How much was done, by kind.
        """
        settled = await run_step(
            MaintenanceActivities.settle_runs,
            sweep,
            summary="settle runs that were ended by force",
            policy=policies.SCHEDULES,
        )
        schedules = 0
        if workflow.patched("restore-schedules"):
            restored = await run_step(
                ScheduleRepair.restore_schedules,
                sweep,
                summary="make schedules that are missing",
                policy=policies.SCHEDULES,
            )
            schedules = restored.count
        pruned = await run_step(
            MaintenanceActivities.prune_old_records,
            sweep,
            summary="give up payloads of records that did not change for long",
            policy=policies.SCHEDULES,
        )
        dropped = await run_step(
            MaintenanceActivities.drop_idle_records,
            sweep,
            summary="remove records of syncs that did not run for long",
            policy=policies.SCHEDULES,
        )
        started = await run_step(
            WebhookActivities.start_forgotten_deliveries,
            ForgottenDeliveries(),
            summary="start webhooks of runs that were ended by force",
            policy=policies.SCHEDULES,
        )
        resumed = await run_step(
            ConnectionSetupActivities.start_awaited_setups,
            AwaitedSetups(),
            summary="set up connections that were left half made",
            policy=policies.SCHEDULES,
        )
        forgotten = await run_step(
            MaintenanceActivities.drop_old_webhooks,
            sweep,
            summary="remove what providers have sent long ago",
            policy=policies.SCHEDULES,
        )
        keys = await run_step(
            MaintenanceActivities.drop_old_keys,
            sweep,
            summary="forget idempotency keys of actions called long ago",
            policy=policies.SCHEDULES,
        )
        refreshed = 0
        if workflow.patched("refresh-idle-credentials"):
            refreshed = await run_step(
                CredentialActivities.refresh_idle_credentials,
                IdleCredentials(),
                summary="keep credentials alive that nobody uses",
                policy=policies.SCHEDULES,
            )
        runs = audit = deliveries = payloads = 0
        if workflow.patched("retention"):
            runs, audit, deliveries, payloads = await self._drop_what_is_over(sweep)
        return {
            "settled_runs": settled.count,
            "restored_schedules": schedules,
            "pruned_records": pruned.count,
            "dropped_records": dropped.count,
            "started_webhooks": started,
            "started_setups": resumed,
            "dropped_webhook_events": forgotten.count,
            "dropped_action_keys": keys.count,
            "refreshed_credentials": refreshed,
            "dropped_runs": runs,
            "dropped_audit_events": audit,
            "dropped_webhook_deliveries": deliveries,
            "dropped_payloads": payloads,
        }

    async def _drop_what_is_over(self, sweep: Sweep) -> tuple[int, int, int, int]:
        runs = await run_step(
            MaintenanceActivities.drop_old_runs,
            sweep,
            summary="remove runs that ended long ago, with their logs",
            policy=policies.SCHEDULES,
        )
        audit = await run_step(
            MaintenanceActivities.drop_old_audit,
            sweep,
            summary="forget what was done long ago",
            policy=policies.SCHEDULES,
        )
        deliveries = await run_step(
            MaintenanceActivities.drop_old_deliveries,
            sweep,
            summary="remove webhooks that were delivered long ago",
            policy=policies.SCHEDULES,
        )
        payloads = await run_step(
            PayloadSweep.drop_unused_payloads,
            sweep,
            summary="remove large payloads that no history names any more",
            policy=policies.SCHEDULES,
        )
        return runs.count, audit.count, deliveries.count, payloads.count
