"""The `maintenance` workflow, which a schedule starts every few minutes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.connection_setups import AwaitedSetups, ConnectionSetupActivities
    from activities.credential_refreshes import CredentialActivities, IdleCredentials
    from activities.maintenance import MaintenanceActivities, Sweep, Swept
    from activities.payload_sweep import PayloadSweep
    from activities.schedule_repair import ScheduleRepair
    from activities.webhooks import ForgottenDeliveries, WebhookActivities
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from workflows.steps import run_step

__all__ = ["Maintain"]

ArgumentT = TypeVar("ArgumentT")


@workflow.defn(name=WorkflowType.MAINTENANCE)
class Maintain:
    """Settles what nobody settled, and gives up what need not be kept.

    See `PERDURE_RECORDS_*` and the settings that end in `_DAYS`. A step that fails keeps none of
    those behind it from being done; the run fails then, in the end.
    """

    def __init__(self) -> None:
        self._failures: list[ActivityError] = []

    @workflow.run
    async def run(self, sweep: Sweep) -> dict[str, int]:
        """Do everything once.

        Returns:
            How much was done, by kind.

        Raises:
            ApplicationError: `maintenance_incomplete`, some steps failed.
        """
        settled = await self._tried(
            MaintenanceActivities.settle_runs,
            sweep,
            "settle runs that were ended by force",
        )
        schedules = 0
        if workflow.patched("restore-schedules"):
            schedules = await self._tried(
                ScheduleRepair.restore_schedules,
                sweep,
                "make schedules that are missing",
            )
        pruned = await self._tried(
            MaintenanceActivities.prune_old_records,
            sweep,
            "give up payloads of records that did not change for long",
        )
        dropped = await self._tried(
            MaintenanceActivities.drop_idle_records,
            sweep,
            "remove records of syncs that did not run for long",
        )
        started = await self._tried(
            WebhookActivities.start_forgotten_deliveries,
            ForgottenDeliveries(),
            "start webhooks of runs that were ended by force",
        )
        resumed = await self._tried(
            ConnectionSetupActivities.start_awaited_setups,
            AwaitedSetups(),
            "set up connections that were left half made",
        )
        forgotten = await self._tried(
            MaintenanceActivities.drop_old_webhooks,
            sweep,
            "remove what providers have sent long ago",
        )
        keys = await self._tried(
            MaintenanceActivities.drop_old_keys,
            sweep,
            "forget idempotency keys of actions called long ago",
        )
        refreshed = 0
        if workflow.patched("refresh-idle-credentials"):
            refreshed = await self._tried(
                CredentialActivities.refresh_idle_credentials,
                IdleCredentials(),
                "keep credentials alive that nobody uses",
            )
        runs = audit = deliveries = payloads = 0
        if workflow.patched("retention"):
            runs, audit, deliveries, payloads = await self._drop_what_is_over(sweep)
        if self._failures:
            names = ", ".join(failure.activity_type for failure in self._failures)
            msg = f"These steps of the maintenance failed: {names}"
            raise ApplicationError(
                msg, type="maintenance_incomplete", non_retryable=True
            ) from self._failures[0]
        return {
            "settled_runs": settled,
            "restored_schedules": schedules,
            "pruned_records": pruned,
            "dropped_records": dropped,
            "started_webhooks": started,
            "started_setups": resumed,
            "dropped_webhook_events": forgotten,
            "dropped_action_keys": keys,
            "refreshed_credentials": refreshed,
            "dropped_runs": runs,
            "dropped_audit_events": audit,
            "dropped_webhook_deliveries": deliveries,
            "dropped_payloads": payloads,
        }

    async def _tried(
        self,
        activity: Callable[[Any, ArgumentT], Awaitable[Swept | int]],
        argument: ArgumentT,
        summary: str,
    ) -> int:
        """Do a step, and return how much it did; nothing where it failed."""
        try:
            done = await run_step(activity, argument, summary=summary, policy=policies.SCHEDULES)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            self._failures.append(error)
            return 0
        return done if isinstance(done, int) else done.count

    async def _drop_what_is_over(self, sweep: Sweep) -> tuple[int, int, int, int]:
        runs = await self._tried(
            MaintenanceActivities.drop_old_runs,
            sweep,
            "remove runs that ended long ago, with their logs",
        )
        audit = await self._tried(
            MaintenanceActivities.drop_old_audit,
            sweep,
            "forget what was done long ago",
        )
        deliveries = await self._tried(
            MaintenanceActivities.drop_old_deliveries,
            sweep,
            "remove webhooks that were delivered long ago",
        )
        payloads = await self._tried(
            PayloadSweep.drop_unused_payloads,
            sweep,
            "remove large payloads that no history names any more",
        )
        return runs, audit, deliveries, payloads
