"""An application that receives webhooks, keeps them and can misbehave."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

DELIVERY = "X-Perdure-Delivery"


@dataclass(frozen=True)
class Received:
    """One webhook as it came."""

    body: bytes
    headers: dict[str, str]

    @property
    def payload(self) -> dict[str, Any]:
        return orjson.loads(self.body)

    @property
    def delivery(self) -> str:
        return self.headers[DELIVERY]


@dataclass
class Receiver:
    """Takes webhooks at `url`.

    Attributes:
        asked: Every attempt that came.
        taken: Those that were answered with 200.
        before: Called with the number of the attempt, from 1; may return another answer.
    """

    server: HTTPServer
    # Its own: what earlier tests have left is still sent to the receivers that those had.
    path: str = field(default_factory=lambda: f"/hooks/{uuid.uuid4().hex}")
    asked: list[Received] = field(default_factory=list)
    taken: list[Received] = field(default_factory=list)
    before: Callable[[int], Response | None] = lambda _: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.server.expect_request(self.path, method="POST").respond_with_handler(self._receive)

    @property
    def url(self) -> str:
        return self.server.url_for(self.path)

    async def until(self, count: int, seconds: float = 30) -> list[Received]:
        """Wait until so many webhooks were taken."""
        async with asyncio.timeout(seconds):
            while len(self.taken) < count:
                await asyncio.sleep(0.02)
        return self.taken

    def _receive(self, request: Request) -> Response:
        received = Received(request.get_data(), dict(request.headers))
        with self._lock:
            self.asked.append(received)
            number = len(self.asked)
        answer = self.before(number)
        if answer is not None:
            return answer
        with self._lock:
            self.taken.append(received)
        return Response("")
