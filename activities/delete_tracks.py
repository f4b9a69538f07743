"""Deletions that follow from what a sync did not see."""

from __future__ import annotations

from temporalio import activity

from perdure.db.database import Database
from perdure.db.delete_tracks import DeleteTrack
from perdure.db.record_batches import ModelCounts, RecordSet
from perdure.ids import ConnectionKey
from perdure.observability.metrics import RECORDS
from perdure.temporal.payloads import Payload, RunContext

__all__ = [
    "AbsentDeleted",
    "DeleteAbsent",
    "DeleteTrackActivities",
    "DropTracks",
    "HeldDelete",
    "HeldOf",
    "TrackOf",
    "Weighed",
]

# Writers of the set wait for one such page at most.
_DELETED_AT_ONCE = 5_000
_SWEPT_AT_ONCE = 20_000


class TrackOf(Payload):
    """A track of a run.

    Attributes:
        model: What it is about.
        of_run: Whether it is the run's own; otherwise the script's, over several runs.
    """

    context: RunContext
    model: str
    of_run: bool = False

    @property
    def target(self) -> RecordSet:
        """The records it is about."""
        context = self.context
        return RecordSet(ConnectionKey(context.connection_key), self.model, context.record_variant)


class Weighed(Payload):
    """What a deletion would do.

    Attributes:
        track_id: The track.
        live: How many records are there.
        absent: How many of them would be deleted.
        held: Whether it waits for somebody's word.
        place: Place in the stream after which the deletion begins.
    """

    track_id: int
    live: int
    absent: int
    held: bool
    place: int


class DeleteAbsent(Payload):
    """A deletion that may be carried out.

    Attributes:
        track_id: The track.
        place: As `Weighed`.
        run_id: Who deletes.
        environment: Name of its environment.
        integration: Its integration.
        counted: Whether it is the run of a sync, whose counts grow.
        shown: Most ids to return.
    """

    track_id: int
    place: int
    run_id: str
    counted: bool = True
    shown: int = 0
    environment: str = ""
    integration: str = ""


class AbsentDeleted(Payload):
    """What was deleted.

    Attributes:
        deleted: How many records.
        ids: The first of them, as many as were asked for.
        dropped: Whether the track went meanwhile, so that something may be left.
    """

    deleted: int
    ids: list[str] = []
    dropped: bool = False


class DropTracks(Payload):
    """Tracks that are needed no more.

    Attributes:
        track_ids: These.
        run_id: And those of this run that are not held back.
    """

    track_ids: list[int] = []
    run_id: str | None = None


class HeldOf(Payload):
    """Whose deletions are held back.

    Attributes:
        model: Only of this model.
    """

    connection_key: int
    sync: str
    variant: str
    model: str | None = None


class HeldDelete(Payload):
    """A deletion that is held back, as it was found then.

    Attributes:
        place: Place in the stream after which its deletion begins.
    """

    track_id: int
    model: str
    live: int
    absent: int
    place: int


class DeleteTrackActivities:
    """Steps that note, weigh and delete. All of them may be repeated."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tracks = database.delete_tracks

    @activity.defn
    async def start_delete_track(self, wanted: TrackOf) -> bool:
        """Begin a script's track; return False where one was open, which is taken up."""
        return await self._tracks.begin_script(wanted.target, wanted.context.script)

    @activity.defn
    async def weigh_deletes(self, wanted: TrackOf) -> Weighed | None:
        """Decide whether what was not seen may be deleted; None where there is no track."""
        track = await self._find(wanted)
        if track is None:
            return None
        context = wanted.context
        found = await self._tracks.weigh(track, share=context.delete_guard, run_id=context.run_id)
        if found is None:
            return None
        return Weighed(
            track_id=track.id,
            live=found.live,
            absent=found.absent,
            held=found.held,
            place=found.place,
        )

    @activity.defn
    async def delete_absent(self, wanted: DeleteAbsent) -> AbsentDeleted:
        """Delete what was not seen, in short transactions.

        Repeated, it goes on where it was; what it returns counts from the beginning.
        """
        track = await self._tracks.by_id(wanted.track_id)
        if track is None:
            return AbsentDeleted(deleted=0, dropped=True)
        complete = await self._delete(track, wanted)
        deleted, ids = await self._tracks.deleted_since(
            track.target, wanted.place, wanted.run_id, limit=wanted.shown
        )
        return AbsentDeleted(deleted=deleted, ids=list(ids), dropped=not complete)

    @activity.defn
    async def drop_delete_tracks(self, wanted: DropTracks) -> None:
        """Drop tracks, and remove the notes of all tracks that are gone."""
        await self._tracks.drop(wanted.track_ids)
        if wanted.run_id is not None:
            await self._tracks.drop_of_run(wanted.run_id)
        while await self._tracks.sweep(limit=_SWEPT_AT_ONCE) == _SWEPT_AT_ONCE:
            pass

    @activity.defn
    async def held_deletes(self, wanted: HeldOf) -> list[HeldDelete]:
        """Return the deletions of a sync that are held back."""
        tracks = await self._tracks.held(
            ConnectionKey(wanted.connection_key), wanted.sync, wanted.variant, wanted.model
        )
        return [
            HeldDelete(
                track_id=track.id,
                model=track.target.model,
                live=track.live or 0,
                absent=track.absent or 0,
                place=await self._tracks.place(track.target),
            )
            for track in tracks
        ]

    @activity.defn
    async def last_place(self, wanted: TrackOf) -> int:
        """Return a set's last place in the stream, 0 where it is empty."""
        return await self._tracks.place(wanted.target)

    async def _find(self, wanted: TrackOf) -> DeleteTrack | None:
        context = wanted.context
        if wanted.of_run:
            return await self._tracks.of_run(context.run_id, wanted.model)
        return await self._tracks.of_script(wanted.target, context.script, context.run_id)

    async def _delete(self, track: DeleteTrack, wanted: DeleteAbsent) -> bool:
        """Delete page after page; return False where the track was dropped meanwhile."""
        after_id = ""
        while ids := await self._tracks.absent(track, after_id=after_id, limit=_DELETED_AT_ONCE):
            async with self._database.transaction() as conn:
                deleted = await self._tracks.delete(track, ids, run_id=wanted.run_id, conn=conn)
                if deleted is None:
                    return False
                if wanted.counted:
                    counts = ModelCounts(added=0, updated=0, deleted=deleted, unchanged=0)
                    await self._database.runs.add_counts(
                        wanted.run_id, track.target.model, counts, conn=conn
                    )
            RECORDS.add(
                deleted,
                environment=wanted.environment,
                integration=wanted.integration,
                model=track.target.model,
                outcome="deleted",
            )
            after_id = ids[-1]
        return True
