"""Keeps the credentials of connections alive that nobody uses."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from temporalio import activity

from activities.credential_keeper import CredentialKeeper
from perdure.clock import utcnow
from perdure.connections.refreshing import BUFFER
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.errors import PerdureError
from perdure.temporal.payloads import Payload

__all__ = ["CredentialActivities", "IdleCredentials"]

_CONCURRENCY = 10

log = structlog.get_logger(__name__)


class IdleCredentials(Payload):
    """Which credentials are to be refreshed though nobody asks for them.

    Attributes:
        age: Seconds since they were refreshed, or last looked at by this.
        batch: How many are looked at together.
    """

    age: float = 86_400.0
    batch: int = 100


class CredentialActivities:
    """Steps that keep credentials alive. Repeating one does no harm.

    Args:
        database: Our own data.
        keeper: Keeps credentials good for use.
    """

    def __init__(self, database: Database, keeper: CredentialKeeper) -> None:
        self._database = database
        self._keeper = keeper

    @activity.defn
    async def refresh_idle_credentials(self, idle: IdleCredentials) -> int:
        """Refresh what has ended, or is about to, and was not refreshed for long.

        Providers forget refresh tokens that are not used. What is wrong with credentials is
        found, too, before somebody needs them.

        Returns:
            How many were refreshed.
        """
        now, count = utcnow(), 0
        while claimed := await self._database.credential_refreshes.claim_idle(
            expire_before=now + BUFFER,
            untouched_since=now - timedelta(seconds=idle.age),
            now=now,
            limit=idle.batch,
        ):
            limit = asyncio.Semaphore(_CONCURRENCY)

            async def refresh(connection: Connection, limit: asyncio.Semaphore = limit) -> bool:
                async with limit:
                    return await self._refreshed(connection)

            count += sum(await asyncio.gather(*map(refresh, claimed)))
        return count

    async def _refreshed(self, connection: Connection) -> bool:
        began_at = utcnow()
        try:
            kept = await self._keeper.keep(connection)
        except PerdureError as error:
            # It is noted where it belongs; the others are to be seen to all the same.
            log.info("idle_credentials_not_refreshed", key=connection.key, code=error.code)
            return False
        return kept.refreshed_at is not None and kept.refreshed_at >= began_at
