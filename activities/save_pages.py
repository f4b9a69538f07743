"""Pages that go past the script: fetched, mapped, checked and saved in one step.

A step works for a slice of time. Each page's records and the cursor behind it are committed
together, and meanwhile the next page is being fetched: a process that dies loses nothing, and at
most the pages in flight are asked for again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from temporalio import activity

from activities.http import FetchPageInput, HttpActivities
from activities.page_mapping import (
    FunctionRef,
    MappedPage,
    PageMapping,
    blocked,
    page_mapping,
)
from activities.page_pipeline import PagePipeline
from activities.records import (
    BatchInput,
    BatchVerb,
    PreparedWrite,
    RecordActivities,
    duplicates_text,
    ignored_text,
)
from activities.run_counts import count_records
from activities.step_modules import StepModules
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.record_batches import BatchResult, RecordSet, total_of
from perdure.db.run_cursors import Claim, CursorKey, RunCursor
from perdure.db.runs import LogLevel, LogLine
from perdure.errors import UpstreamError
from perdure.ids import ConnectionKey
from perdure.nango import LoggerLevel
from perdure.proxy.pagination import Page, PageState, shown_place
from perdure.records.prepare import PreparedBatch
from perdure.scripts.interruption import StillRunning
from perdure.scripts.secrets import KnownSecrets
from perdure.temporal import policies
from perdure.temporal.payloads import Payload, RunContext
from perdure.temporal.slots import others_may_wait

__all__ = ["SavePagesActivities", "SavePagesInput", "SavedSlice"]

# How many seconds the functions of a script may take for one page.
_PAGE_LIMIT = 60.0
# Where others may wait for its place a slice ends after a tenth of its time, and not within
# seconds: what a read gives way for costs a new step, which stands in its run's history.
_SHARE = 0.1
_LEAST_TURN = 10.0
_GRAVITY = {"debug": 0, "info": 1, "warn": 2, "error": 3, "off": 4}


class SavePagesInput(Payload):
    """A read that saves past the script.

    Attributes:
        context: The run.
        number: Which read of the workflow it is, counted from 1.
        verb: Whether the records are saved or deleted.
        model: Their model.
        page: What is asked for.
        bundle: Bundle of the functions.
        map_item: Makes records of an element.
        where: Says which records are kept.
        on_page: Is told of each page; False ends the reading.
        not_after: As in `BatchInput`.
        log_level: The least grave lines that are logged.
        seconds: How long the step works at most, the page in flight excepted.
        secrets: Texts that the script knows and no message may hold.
    """

    context: RunContext
    number: int
    verb: BatchVerb
    model: str
    page: FetchPageInput
    bundle: str
    map_item: FunctionRef | None = None
    where: FunctionRef | None = None
    on_page: FunctionRef | None = None
    not_after: int | None = None
    log_level: LoggerLevel = "debug"
    seconds: float = 1.0
    secrets: tuple[str, ...] = ()

    @property
    def functions(self) -> tuple[FunctionRef | None, FunctionRef | None, FunctionRef | None]:
        """`map`, `where` and `on_page`."""
        return self.map_item, self.where, self.on_page

    @property
    def path(self) -> str:
        """File of the first of them."""
        return next((ref.path for ref in self.functions if ref is not None), "")

    def holds_secret(self) -> bool:
        """See base class."""
        return bool(self.secrets) or self.page.holds_secret()


class SavedSlice(Payload):
    """How far a read is.

    Attributes:
        done: Whether all pages are saved.
        pages: How many are, from the first on.
        counts: What became of their records: `added`, `updated`, `deleted`, `unchanged`.
        following: Where the next page begins, as people may see it.
        echoed: Credentials of the connection that pages repeated; they are encrypted.
    """

    done: bool
    pages: int
    counts: dict[str, int]
    following: str | None = None
    echoed: tuple[str, ...] = ()

    def holds_secret(self) -> bool:
        """See base class."""
        return bool(self.echoed)


class SavePagesActivities:
    """The step that saves pages.

    Args:
        database: Where cursors, counts and logs are kept.
        http: Fetches pages.
        records: Writes records.
        modules: Finds the functions of scripts.
    """

    def __init__(
        self,
        database: Database,
        http: HttpActivities,
        records: RecordActivities,
        modules: StepModules,
    ) -> None:
        self.database = database
        self.http = http
        self.records = records
        self.modules = modules

    @activity.defn
    async def save_pages(self, call: SavePagesInput) -> SavedSlice:
        """Save pages from the cursor on, until the time is over or there are no more.

        Where its worker takes no further steps on, the time is over sooner: others may wait.

        Raises:
            UpstreamError: As `fetch_page`; the next attempt goes on at the page that failed.
            ScriptError: A function of the script raised.
            InvalidInputError: A record cannot be saved; nothing of its page is.
            UnavailableError: The database is away, or a newer attempt of the step is under way.
        """
        mapping = await self._mapping(call)
        return await _Slice(self, call, mapping).run()

    async def _mapping(self, call: SavePagesInput) -> PageMapping:
        bundle = await self.modules.bundle(call.bundle)
        found = partial(
            page_mapping,
            bundle,
            call.functions,
            partial(self.modules.function, bundle),
            context=call.context,
            verb=call.verb,
            model=call.model,
            secrets=KnownSecrets(call.secrets),
        )
        try:
            return await self.modules.within(_PAGE_LIMIT, found)
        except StillRunning as error:
            raise blocked(error.where, call.path, "the file is loaded") from None


@dataclass(frozen=True, slots=True)
class _PreparedPage:
    """A page that is ready to be written, in batches."""

    page: MappedPage
    writes: Sequence[PreparedWrite]


class _Slice:
    """One attempt of the step."""

    def __init__(
        self, parts: SavePagesActivities, call: SavePagesInput, mapping: PageMapping
    ) -> None:
        info = activity.info()
        self._database = parts.database
        self._http = parts.http
        self._records = parts.records
        self._modules = parts.modules
        self._call = call
        self._mapping = mapping
        # Pages side by side would share the time that one may take, and what functions keep.
        self._lane = parts.modules.lane()
        self._key = CursorKey(call.context.run_id, info.workflow_id or "", call.number)
        self._claim = Claim(info.current_attempt_scheduled_time, info.attempt)
        self._echoed: set[str] = set()
        self._cursor: RunCursor

    async def run(self) -> SavedSlice:
        asked = _fingerprint(self._call, await self._track_id())
        self._cursor = await self._database.run_cursors.claim(self._key, self._claim, asked=asked)
        state = _state(self._cursor)
        if not self._cursor.done:
            state = await self._pages(state)
        following = shown_place(state)
        return SavedSlice(
            done=self._cursor.done,
            pages=self._cursor.pages,
            counts=dict(self._cursor.counts),
            following=None if following is None else self._mapping.secrets.mask(following),
            echoed=tuple(sorted(self._echoed)),
        )

    async def _pages(self, state: PageState | None) -> PageState | None:
        """Save pages until the time is over or there are no more; returns where it stopped."""
        began_at = asyncio.get_running_loop().time()
        number = self._cursor.pages
        told_of = self._mapping.functions.on_page is not None
        first = self._fetch(state, number + 1)
        async with PagePipeline(first, self._prepared, self._commit) as pipeline:
            try:
                while True:
                    page = await pipeline.arrived()
                    number += 1
                    self._echoed.update(page.echoed)
                    state = page.next
                    mapped = pipeline.take_on(page, number)
                    is_over = self._is_over(asyncio.get_running_loop().time() - began_at)
                    goes_on = (
                        state is not None and not is_over and not activity.is_worker_shutdown()
                    )
                    if goes_on:
                        pipeline.ask(self._fetch(state, number + 1))
                    # No page may be told to a script that said that the one before is the last.
                    if told_of and (await mapped).page.is_last:
                        state, goes_on = None, False
                    if not goes_on:
                        return state
                    await pipeline.make_room()
            except UpstreamError as error:
                if error.retryable and error.retry_after is None:
                    # Attempts that saved pages are no reason to wait longer and longer.
                    tries = max(self._cursor.tries, 1)
                    error.retry_after = policies.backoff(tries).total_seconds()
                raise

    def _is_over(self, worked: float) -> bool:
        """Say whether a slice that has worked for so many seconds ends."""
        seconds = self._call.seconds
        if others_may_wait():
            seconds = min(seconds, max(seconds * _SHARE, _LEAST_TURN))
        return worked >= seconds

    async def _track_id(self) -> int:
        """Return the track in which the script notes what is there; 0 where there is none."""
        context = self._call.context
        key = ConnectionKey(context.connection_key)
        target = RecordSet(key, self._call.model, context.record_variant)
        track = await self._database.delete_tracks.of_script(target, context.script, context.run_id)
        return track.id if track else 0

    async def _fetch(self, state: PageState | None, number: int) -> Page:
        wanted = {"state": state, "number": number}
        return await self._http.page(self._call.page.model_copy(update=wanted))

    async def _prepared(self, page: Page, number: int) -> _PreparedPage:
        """Map, check and encode a page, in a thread, behind those before it."""
        call = partial(self._prepare, page, number)
        try:
            return await self._modules.within(_PAGE_LIMIT, call, lane=self._lane)
        except StillRunning as error:
            raise blocked(error.where, self._mapping.path, f"page {number}") from None

    def _prepare(self, page: Page, number: int) -> _PreparedPage:
        mapped = self._mapping.apply(page, number)
        batch = BatchInput(
            context=self._call.context, model=self._call.model, not_after=self._call.not_after
        )
        writes = [
            self._records.saving(batch, prepared)
            if isinstance(prepared, PreparedBatch)
            else self._records.deleting(batch, prepared)
            for prepared in mapped.batches
        ]
        return _PreparedPage(mapped, writes)

    async def _commit(
        self, prepared: _PreparedPage, following: PageState | None, number: int
    ) -> None:
        """Write a page and move the cursor behind it, or do neither."""
        state = None if prepared.page.is_last else following
        place = None if state is None else state.model_dump_json().encode()
        lines = list(prepared.page.warnings)
        if len(prepared.writes) == 1 and not lines:
            (write,) = prepared.writes
            if write.write_page is not None:
                move = self._database.run_cursors.move(self._key, self._claim, state=place)
                saved, moved = await write.write_page(move)
                count_records(self._call.context, self._call.model, saved.counts)
                self._cursor = RunCursor(place, state is None, moved.pages, 0, moved.counts)
                return
        async with self._database.transaction() as conn:
            results = [
                await self._records.perform(self._call.context, write, conn)
                for write in prepared.writes
            ]
            for result in results:
                lines += self._remarks(result)
            counts = total_of(result.counts for result in results)
            self._cursor = await self._database.run_cursors.advance(
                self._key,
                self._claim,
                state=place,
                model=self._call.model,
                counts=counts,
                conn=conn,
            )
            await self._database.runs.append_logs(
                self._call.context.run_id, self._log_lines(lines, number), conn=conn
            )
        count_records(self._call.context, self._call.model, counts)

    def _remarks(self, result: BatchResult) -> list[tuple[LogLevel, str]]:
        told: list[tuple[LogLevel, str]] = []
        if result.duplicates:
            told.append(("warn", duplicates_text(self._call.model, result.duplicates)))
        if result.ignored:
            told.append(
                (
                    "debug",
                    ignored_text(
                        self._call.verb.removeprefix("batch_"),
                        self._call.model,
                        len(result.ignored),
                    ),
                )
            )
        least = _GRAVITY[self._call.log_level]
        return [line for line in told if _GRAVITY[line[0]] >= least]

    def _log_lines(self, lines: list[tuple[LogLevel, str]], number: int) -> list[LogLine]:
        step = f"{self._key.workflow_id}:read {self._key.number}:{number}"
        return [
            LogLine(utcnow(), level, self._mapping.secrets.mask(text), step_id=f"{step}:{index}")
            for index, (level, text) in enumerate(lines)
        ]


def _state(cursor: RunCursor) -> PageState | None:
    return None if cursor.state is None else PageState.model_validate_json(cursor.state)


def _fingerprint(call: SavePagesInput, track_id: int) -> str:
    """Tell reads apart. A function that was mended is the same one by its name.

    A read for another track begins anew: what was saved before that has begun is not seen in it,
    and would be deleted. What a later release adds to requests does not count as long as nobody
    uses it.
    """
    asked: dict[str, Any] = call.model_dump(
        mode="json", include={"verb", "model", "map_item", "where", "on_page"}
    )
    asked["page"] = call.page.model_dump(
        mode="json", include={"request", "paginate"}, exclude_defaults=True
    )
    asked["track"] = track_id
    asked["connection"] = call.page.connection.name
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
