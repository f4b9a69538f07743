"""Has webhooks worked off soon after they came, however many come at once.

It is no part of the promise that nothing is lost: what is not begun with here, a worker finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from activities.webhook_dispatch import WebhookDispatcher
from activities.webhook_intake import Taken
from activities.webhook_starts import DeliveryStarter
from api.background import AppTasks
from perdure.db.database import Database
from perdure.db.webhook_events import OpenConnection
from perdure.errors import PerdureError
from perdure.ids import ConnectionKey
from perdure.temporal.client import unavailable

__all__ = ["WebhookWaker"]

# In a burst a connection is looked at a few times a second, not for each webhook, and each of many
# connections still less often: what they cost together is bounded.
_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 2.0
_PER_SECOND = 20
_CONCURRENCY = 16

log = structlog.get_logger(__name__)


class WebhookWaker:
    """Tells Temporal of what there is to do, in the background.

    Args:
        database: Our own data.
        client: Starts workflows.
        patience: How long a receiver of the application is tried.
        background: Where the calls are made.
    """

    def __init__(
        self, database: Database, client: Client, patience: timedelta, background: AppTasks
    ) -> None:
        self._database = database
        self._dispatcher = WebhookDispatcher(client)
        self._starter = DeliveryStarter(client, patience)
        self._background = background
        self._more: dict[ConnectionKey, bool] = {}
        self._limit = asyncio.Semaphore(_CONCURRENCY)

    def wake(self, taken: Taken) -> None:
        """Have what was taken worked off."""
        for connection in taken.connections:
            if connection.key in self._more:
                self._more[connection.key] = True
            else:
                self._more[connection.key] = False
                self._background.start(self._wake(connection))
        if taken.deliveries:
            self._background.start(self._start(taken.environment, taken.deliveries))

    async def _wake(self, connection: OpenConnection) -> None:
        try:
            more = True
            while more:
                self._more[connection.key] = False
                async with self._limit:
                    await self._told(self._dispatcher.wake(connection))
                await asyncio.sleep(self._pause())
                more = self._more[connection.key]
        finally:
            del self._more[connection.key]

    def _pause(self) -> float:
        return min(max(_PAUSE_SECONDS, len(self._more) / _PER_SECOND), _LONGEST_PAUSE_SECONDS)

    async def _start(self, environment: str, ids: Sequence[UUID]) -> None:
        try:
            found = await self._database.deliveries.by_ids(ids)
        except PerdureError as error:
            log.warning("webhook_not_begun", code=error.code)
            return
        async with self._limit:
            await self._told(self._starter.start(environment, found))

    async def _told(self, call: Coroutine[Any, Any, None]) -> None:
        try:
            await call
        except (RPCError, RuntimeError) as error:
            away = unavailable(error)
            log.warning("webhook_not_begun", code=away.code if away else "temporal_refused")
