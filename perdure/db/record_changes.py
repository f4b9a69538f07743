"""Word that records have changed, as it is committed, for whoever follows their stream.

Postgres passes it on with NOTIFY. It is a reason to look, not the change itself: word that is lost
while a connection breaks costs time, and never a change, because followers look now and then even
if they hear nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Self

import asyncpg
import structlog

from perdure.db.errors import mapped_errors
from perdure.db.pool import DbConnection
from perdure.errors import UnavailableError

if TYPE_CHECKING:
    from perdure.db.record_batches import RecordSet

__all__ = ["RecordChanges", "announce", "name_of"]

_CHANNEL = "perdure_records"
_ANNOUNCE = "SELECT pg_notify('perdure_records', $1)"
_CONNECT_TIMEOUT = 10.0
_RECONNECT_SECONDS = 1.0

log = structlog.get_logger(__name__)


async def announce(conn: DbConnection, target: RecordSet) -> None:
    """Tell followers that records of a set have changed, when the transaction commits."""
    await conn.execute(_ANNOUNCE, name_of(target))


class RecordChanges:
    """Listens on one connection of its own, from the first follower on.

    Args:
        database_url: `postgresql://` URL.
        application_name: What `pg_stat_activity` shows.
    """

    def __init__(self, database_url: str, *, application_name: str) -> None:
        self._url = database_url
        self._name = f"{application_name}-listen"
        self._followers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def follow(self, target: RecordSet) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set whenever records of the set may have changed."""
        name, changed = name_of(target), asyncio.Event()
        self._followers[name].add(changed)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen())
        try:
            yield changed
        finally:
            self._followers[name].discard(changed)
            if not self._followers[name]:
                del self._followers[name]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener

    async def _listen(self) -> None:
        while True:
            try:
                with mapped_errors():
                    await self._listen_once()
            except UnavailableError as error:
                log.warning("record_changes_unheard", error=str(error))
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        """Listen until the connection breaks."""
        broken = asyncio.Event()
        conn = await asyncpg.connect(
            self._url,
            timeout=_CONNECT_TIMEOUT,
            server_settings={"application_name": self._name},
        )
        try:
            conn.add_termination_listener(lambda _: broken.set())
            await conn.add_listener(_CHANNEL, self._heard)
            # What was said before may have been missed.
            for changed in [event for events in self._followers.values() for event in events]:
                changed.set()
            await broken.wait()
        finally:
            conn.terminate()

    def _heard(self, _conn: object, _pid: int, _channel: str, payload: object) -> None:
        for changed in self._followers.get(str(payload), ()):
            changed.set()


def name_of(target: RecordSet) -> str:
    """Return the word that tells of a set, for statements that announce what they change."""
    return f"{target.connection_key}/{target.variant}/{target.model}"
