"""The `confirm-deletes` workflow: deletions that were held back are carried out."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.delete_tracks import (
        DeleteAbsent,
        DeleteTrackActivities,
        DropTracks,
        HeldOf,
    )
    from perdure.temporal import policies
    from perdure.temporal.names import WorkflowType
    from perdure.temporal.payloads import ConfirmDeletesInput, ConfirmDeletesResult
    from workflows.steps import run_step

__all__ = ["ConfirmDeletes"]


@workflow.defn(name=WorkflowType.CONFIRM_DELETES)
class ConfirmDeletes:
    """Deletes what was absent when somebody was asked, and is absent still.

    What was written or seen since then stays. Its workflow id is that of the sync, so that one is
    under way at a time.
    """

    @workflow.run
    async def run(self, confirmed: ConfirmDeletesInput) -> ConfirmDeletesResult:
        """Carry the deletions out, model by model."""
        held = await run_step(
            DeleteTrackActivities.held_deletes,
            HeldOf(
                connection_key=confirmed.connection_key,
                sync=confirmed.sync,
                variant=confirmed.variant,
                model=confirmed.model,
            ),
            summary=f"what is held back of {confirmed.sync} for {confirmed.connection_id}",
            policy=policies.BOOKKEEPING,
        )
        deleted: dict[str, int] = {}
        for item in held:
            done = await run_step(
                DeleteTrackActivities.delete_absent,
                DeleteAbsent(
                    track_id=item.track_id,
                    place=item.place,
                    run_id=workflow.info().run_id,
                    counted=False,
                ),
                summary=f"delete up to {item.absent:,} {item.model}",
                policy=policies.WHOLE_SET,
            )
            deleted[item.model] = deleted.get(item.model, 0) + done.deleted
            workflow.set_current_details(
                ", ".join(f"{count:,} {model} deleted" for model, count in deleted.items())
            )
            await run_step(
                DeleteTrackActivities.drop_delete_tracks,
                DropTracks(track_ids=[item.track_id]),
                summary=f"forget what was seen of {item.model}",
                policy=policies.WHOLE_SET,
            )
        return ConfirmDeletesResult(deleted=deleted)
