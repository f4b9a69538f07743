"""Deletions that follow from what a sync did not see, as scripts ask for them."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.delete_tracks import (
        DeleteAbsent,
        DeleteTrackActivities,
        DropTracks,
        TrackOf,
        Weighed,
    )
    from activities.dry_runs import DryRunActivities
    from perdure.nango import DeletedKeys, HelperError
    from perdure.records.delete_guard import held_message
    from perdure.temporal import policies
    from perdure.temporal.payloads import RunContext
    from workflows.helper_errors import raise_helper_error
    from workflows.nango.records import RecordSteps

__all__ = ["DeleteTrackSteps"]

_KEYS_SHOWN = 10_000

# A run that builds all records anew replaces those that are absent when it has succeeded.
_LEFT_TO_THE_SWAP = DeletedKeys(deletedKeys=[], deletedCount=0, held=False)


class DeleteTrackSteps(RecordSteps):
    """`track_deletes_start`, `track_deletes_end`, `delete_records_from_previous_executions`."""

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        super().__init__(context, limit=limit, priority=priority)
        # Models that a dry run tracks.
        self._tracked: set[str] = set()

    async def track_deletes_start(self, model: str) -> None:
        """See base class."""
        self._check_model(model)
        if self._context.empty_cache:
            return
        if self._context.dry_run:
            self._tracked.add(model)
            return
        begun = await self._lookup(
            DeleteTrackActivities.start_delete_track,
            TrackOf(context=self._context, model=model),
            f"note which {model} are seen",
        )
        if not begun:
            await self.log(f"Deletes of {model} are tracked already; an earlier run began it.")

    async def track_deletes_end(self, model: str) -> DeletedKeys:
        """See base class."""
        self._check_model(model)
        if self._context.empty_cache:
            return _LEFT_TO_THE_SWAP
        track = TrackOf(context=self._context, model=model)
        if self._context.dry_run and model in self._tracked:
            self._tracked.discard(model)
            return await self._preview(track)
        weighed = None if self._context.dry_run else await self._weigh(track)
        if weighed is None:
            msg = (
                f"No deletes of {model!r} are tracked; call `track_deletes_start` before the first "
                "record is saved"
            )
            raise HelperError(msg, code="track_deletes_not_started")
        deleted = await self._delete_absent(weighed, model)
        if not weighed.held:
            await self._drop(DropTracks(track_ids=[weighed.track_id]), model)
        return deleted

    async def delete_records_from_previous_executions(self, model: str) -> DeletedKeys:
        """See base class."""
        self._check_model(model)
        if self._context.empty_cache:
            return _LEFT_TO_THE_SWAP
        if self.resumes:
            await self._tell_resumed(model)
            return DeletedKeys(deletedKeys=[], deletedCount=0, held=False)
        if self._context.dry_run:
            return await self._preview(TrackOf(context=self._context, model=model))
        weighed = await self._weigh(TrackOf(context=self._context, model=model, of_run=True))
        if weighed is None:
            msg = (
                f"This run did not note which {model} it saw, or a later run has begun. Call "
                "`nango.delete_records_from_previous_executions` by this name in the script"
            )
            raise HelperError(msg, code="deletes_not_tracked")
        return await self._delete_absent(weighed, model)

    async def finish_deletes(self) -> None:
        """Delete what a full run that succeeded did not see, and forget what was noted for it."""
        context = self._context
        if context.dry_run:
            for model in context.models if context.track_deletes else ():
                if self.resumes:
                    await self._tell_resumed(model)
                else:
                    await self._preview(TrackOf(context=context, model=model))
            return
        if not context.notes_seen:
            return
        if context.track_deletes:
            for model in context.models:
                if self.resumes:
                    await self._tell_resumed(model)
                    continue
                weighed = await self._weigh(TrackOf(context=context, model=model, of_run=True))
                if weighed is None:
                    await self.warn(f"No {model} were deleted: a later run of the sync has begun.")
                else:
                    await self._delete_absent(weighed, model)
        await self._drop(DropTracks(run_id=context.run_id), "records")

    async def _weigh(self, track: TrackOf) -> Weighed | None:
        try:
            return await self._step(
                DeleteTrackActivities.weigh_deletes,
                track,
                f"count the {track.model} that were not seen",
                policies.WHOLE_SET,
            )
        except ActivityError as error:
            raise_helper_error(error)

    async def _delete_absent(self, weighed: Weighed, model: str) -> DeletedKeys:
        if weighed.held:
            await self._tell_held(weighed, model)
            return DeletedKeys(deletedKeys=[], deletedCount=0, held=True)
        self.progress.remark(model, None)
        if not weighed.absent:
            return DeletedKeys(deletedKeys=[], deletedCount=0, held=False)
        try:
            done = await self._step(
                DeleteTrackActivities.delete_absent,
                DeleteAbsent(
                    track_id=weighed.track_id,
                    place=weighed.place,
                    run_id=self.run_id,
                    shown=_KEYS_SHOWN,
                    environment=self._context.environment,
                    integration=self._context.integration,
                ),
                f"delete {weighed.absent:,} {model}",
                policies.WHOLE_SET,
            )
        except ActivityError as error:
            raise_helper_error(error)
        self.progress.records(model, {"deleted": done.deleted})
        if done.dropped:
            await self.warn(f"Not all {model} were deleted: a later run of the sync has begun.")
        return DeletedKeys(deletedKeys=done.ids, deletedCount=done.deleted, held=False)

    async def _preview(self, of: TrackOf) -> DeletedKeys:
        try:
            found = await self._step(
                DryRunActivities.preview_absent,
                of,
                f"count the {of.model} that were not seen",
                policies.WHOLE_SET,
            )
        except ActivityError as error:
            raise_helper_error(error)
        if found.held:
            await self.warn(
                f"{found.absent:,} of {found.live:,} {of.model} were not seen. That is so many "
                "that a real run would delete none of them until somebody confirms it."
            )
            return DeletedKeys(deletedKeys=[], deletedCount=0, held=True)
        self.progress.records(of.model, {"deleted": found.absent})
        return DeletedKeys(deletedKeys=found.ids, deletedCount=found.absent, held=False)

    async def _tell_resumed(self, model: str) -> None:
        await self.warn(
            f"No {model} were deleted: this run went on from the checkpoint of an earlier one and "
            "has not seen all of them. `track_deletes_start` and `track_deletes_end` track over "
            "several runs."
        )

    async def _tell_held(self, weighed: Weighed, model: str) -> None:
        context = self._context
        what = f"{weighed.absent:,} of {weighed.live:,} {model}"
        await self.warn(
            held_message(
                what,
                model,
                integration=context.integration,
                sync=context.script,
                connection_id=context.connection_id,
                variant=context.variant,
            )
        )
        self.progress.remark(model, f"{what} were not seen; their deletion waits to be confirmed")

    async def _drop(self, tracks: DropTracks, what: str) -> None:
        try:
            await self._step(
                DeleteTrackActivities.drop_delete_tracks,
                tracks,
                f"forget which {what} were seen",
                policies.WHOLE_SET,
            )
        except ActivityError as error:
            raise_helper_error(error)
