"""Looking for webhooks that nobody has begun with: one that cannot be started holds up no other."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest
from temporalio.service import RPCError, RPCStatusCode

from activities.webhook_dispatch import WebhookDispatcher, WebhookSweep
from activities.webhook_starts import DeliveryStarter
from perdure.db.database import Database
from perdure.db.webhook_events import OpenConnection
from perdure.ids import ConnectionKey

CONNECTIONS = [
    OpenConnection("dev", "github", f"acme-{number}", ConnectionKey(number)) for number in range(40)
]
DELIVERIES = [uuid4() for _ in range(3)]


class Parts:
    """Stands for the database, and for what starts workflows.

    Attributes:
        faults: What the start of something comes to, by its id.
        begun: What was started.
    """

    def __init__(self) -> None:
        self.faults: dict[str, RPCStatusCode] = {}
        self.begun: list[str] = []

    async def open_connections(self, idle: timedelta, limit: int) -> list[OpenConnection]:
        return CONNECTIONS

    async def unstarted(
        self, before: datetime, *, after_seq: int, limit: int
    ) -> list[tuple[int, UUID, str]]:
        return [(number, delivery, "dev") for number, delivery in enumerate(DELIVERIES)]

    async def by_ids(self, ids: list[UUID]) -> list[UUID]:
        return ids

    async def ensure(self, connection: OpenConnection) -> None:
        self._begin(connection.connection_id)

    async def start(self, environment: str, deliveries: list[UUID]) -> None:
        self._begin(str(deliveries[0]))

    def _begin(self, name: str) -> None:
        if name in self.faults:
            raise RPCError("no", self.faults[name], b"")
        self.begun.append(name)


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def sweep(parts: Parts) -> WebhookSweep:
    return WebhookSweep(
        cast("Database", SimpleNamespace(webhook_events=parts, deliveries=parts)),
        cast("WebhookDispatcher", parts),
        cast("DeliveryStarter", parts),
    )


async def test_one_that_cannot_be_started_holds_up_no_other(
    parts: Parts, sweep: WebhookSweep
) -> None:
    parts.faults = {
        "acme-0": RPCStatusCode.INVALID_ARGUMENT,
        str(DELIVERIES[0]): RPCStatusCode.PERMISSION_DENIED,
    }

    await sweep.once()

    assert set(parts.begun) == {
        *(connection.connection_id for connection in CONNECTIONS[1:]),
        *map(str, DELIVERIES[1:]),
    }


async def test_nothing_more_is_tried_once_temporal_is_away(
    parts: Parts, sweep: WebhookSweep
) -> None:
    parts.faults = {
        connection.connection_id: RPCStatusCode.UNAVAILABLE for connection in CONNECTIONS[:16]
    }

    with pytest.raises(RPCError):
        await sweep.once()

    assert parts.begun == []
