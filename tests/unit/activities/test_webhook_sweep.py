"""Looking for webhooks that nobody has begun with: one that cannot be started holds up no other."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs
from temporalio.service import RPCError, RPCStatusCode

from activities import webhook_dispatch
from activities.webhook_dispatch import WebhookDispatcher, WebhookSweep
from activities.webhook_starts import DeliveryStarter
from perdure.db.database import Database
from perdure.db.webhook_events import OpenConnection
from perdure.ids import ConnectionKey
from tests.support.deploys import eventually

CONNECTIONS = [
    OpenConnection("dev", "github", f"acme-{number}", ConnectionKey(number)) for number in range(40)
]
DELIVERIES = [uuid4() for _ in range(3)]


class Parts:
    """Stands for the database, and for what starts workflows.

    Attributes:
        faults: What the start of something comes to, by its id.
        looks: How often it was looked for connections.
        begun: What was started.
    """

    def __init__(self) -> None:
        self.faults: dict[str, RPCStatusCode | Exception] = {}
        self.looks = 0
        self.begun: list[str] = []

    async def open_connections(self, idle: timedelta, limit: int) -> list[OpenConnection]:
        self.looks += 1
        if "look" in self.faults:
            raise TypeError("as nobody foresaw")
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
        match self.faults.get(name):
            case RPCStatusCode() as status:
                raise RPCError("no", status, b"")
            case Exception() as error:
                raise error
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
        "acme-1": TypeError("as nobody foresaw"),
        str(DELIVERIES[0]): RPCStatusCode.PERMISSION_DENIED,
    }

    with capture_logs() as logs:
        await sweep.once()

    assert [line["event"] for line in logs] == ["webhook_not_started"] * 3
    assert set(parts.begun) == {
        *(connection.connection_id for connection in CONNECTIONS[2:]),
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


async def test_an_error_that_nobody_foresaw_is_logged_and_looking_goes_on(
    parts: Parts, sweep: WebhookSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_dispatch, "_EVERY_SECONDS", 0)
    parts.faults = {"look": TypeError()}

    async def has_looked_twice() -> bool:
        return parts.looks > 1

    async def has_begun() -> bool:
        return bool(parts.begun)

    with capture_logs() as logs:
        sweeping = asyncio.create_task(sweep.run())
        await eventually(has_looked_twice)
        del parts.faults["look"]
        await eventually(has_begun)
        sweeping.cancel()

    assert logs[0]["event"] == "webhook_sweep_failed"
    assert isinstance(logs[0]["exc_info"], TypeError)
