"""Spreads requests over the APIs as a load balancer does, by what their readiness says.

Requests go to the ready ones in turns. Where nothing listens, nothing was sent, and the next one is
tried. A request that was sent and not answered is not repeated here: whether it may be is for its
sender to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

__all__ = ["Balancer", "BrokenError", "NobodyReadyError"]

_LOOK_SECONDS = 0.5
_LOOK_TIMEOUT = 2.0
_REQUEST_TIMEOUT = 60.0


class NobodyReadyError(Exception):
    """No API takes requests; a load balancer answers 503 itself."""


class BrokenError(Exception):
    """The request was sent, and its connection broke before an answer came."""


class Balancer:
    """Sends requests to whoever is ready.

    Args:
        urls: Of the APIs, by name.
        secret_key: Sent with every request.
    """

    def __init__(self, urls: Mapping[str, str], secret_key: str) -> None:
        self._urls = urls
        self._secret_key = secret_key
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._ready: dict[str, bool] = {}
        self._turn = 0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look who is ready until the context ends."""
        async with AsyncExitStack() as stack:
            for name, url in self._urls.items():
                self._clients[name] = await stack.enter_async_context(
                    httpx.AsyncClient(
                        base_url=url,
                        headers={"authorization": f"Bearer {self._secret_key}"},
                        timeout=_REQUEST_TIMEOUT,
                    )
                )
            await asyncio.gather(*map(self._look, self._urls))
            watching = [asyncio.create_task(self._watch(name)) for name in self._urls]
            try:
                yield
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.wait(watching)

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request to an API.

        Raises:
            NobodyReadyError: There is none that takes it.
            BrokenError: It took the request and did not answer it.
        """
        self._turn += 1
        names = list(self._urls)
        for offset in range(len(names)):
            name = names[(self._turn + offset) % len(names)]
            if not self._ready.get(name):
                continue
            try:
                return await self._clients[name].request(method, path, **options)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                self._ready[name] = False
            except httpx.TransportError as error:
                raise BrokenError(f"{name}: {type(error).__name__}") from error
        raise NobodyReadyError

    async def _watch(self, name: str) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look(name)

    async def _look(self, name: str) -> None:
        try:
            answer = await self._clients[name].get("/health/ready", timeout=_LOOK_TIMEOUT)
        except httpx.TransportError:
            self._ready[name] = False
        else:
            self._ready[name] = answer.status_code == 200
