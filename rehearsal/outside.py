"""What is outside of the cluster: an API with items and orders, and an application with a receiver.

Both keep count of everything, so that afterwards it can be said what was lost and what came twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from perdure.embedded.ports import LOOPBACK

__all__ = ["Outside"]

_PAGE = 100
# As slow as an API is that is near.
_PAGE_SECONDS = 0.03


class Outside:
    """The API and the application.

    Attributes:
        url: Of both.
        orders: Idempotency keys under which each number was ordered; two of them are two orders.
        order_requests: How often each number was asked for.
        forwarded: How often each webhook was handed on, by its id.
        completions: How often the end of each asynchronous action was told, by its id.
        sync_ends: How often a sync was told to have ended, by connection and model.
        pages: How many pages were fetched.
    """

    def __init__(self, items: int) -> None:
        self.url = ""
        self.orders: dict[int, set[str]] = defaultdict(set)
        self.order_requests: Counter[int] = Counter()
        self.forwarded: Counter[str] = Counter()
        self.completions: Counter[str] = Counter()
        self.sync_ends: Counter[tuple[str, str]] = Counter()
        self.pages = 0
        self._count = items
        self._generations: dict[tuple[str, str], list[int]] = {}

    def items(self, account: str, sync: str) -> dict[str, str]:
        """Return the titles of all items by their ids, as they are at the source."""
        return {
            str(number): f"{account} {number} v{version}"
            for number, version in enumerate(self._versions(account, sync))
        }

    def change(self, account: str, sync: str, every: int) -> int:
        """Change each so many-th item; returns how many that were."""
        versions = self._versions(account, sync)
        changed = range(0, len(versions), every)
        for number in changed:
            versions[number] += 1
        return len(changed)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve both until the context ends."""
        app = Starlette(
            routes=[
                Route("/items/{sync}", self._items),
                Route("/orders", self._order, methods=["POST"]),
                Route("/hooks", self._hook, methods=["POST"]),
            ]
        )
        server = uvicorn.Server(
            uvicorn.Config(app, host=LOOPBACK, port=0, log_config=None, lifespan="off")
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        self.url = f"http://{LOOPBACK}:{server.servers[0].sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.should_exit = True
            await serving

    def _versions(self, account: str, sync: str) -> list[int]:
        return self._generations.setdefault((account, sync), [0] * self._count)

    async def _items(self, request: Request) -> Response:
        account = request.headers["authorization"].removeprefix("Bearer key-of-")
        start = int(request.query_params.get("cursor") or 0)
        titles = self.items(account, request.path_params["sync"])
        await asyncio.sleep(_PAGE_SECONDS)
        self.pages += 1
        ids = [str(number) for number in range(start, min(start + _PAGE, len(titles)))]
        items = [{"id": id_, "title": titles[id_], "note": "n" * 200} for id_ in ids]
        following = start + _PAGE
        more = str(following) if following < len(titles) else None
        return JSONResponse({"items": items, "next": more})

    async def _order(self, request: Request) -> Response:
        number = (await request.json())["number"]
        self.order_requests[number] += 1
        self.orders[number].add(request.headers["idempotency-key"])
        return JSONResponse({"receipt": f"receipt {number}"}, 201)

    async def _hook(self, request: Request) -> Response:
        told = await request.json()
        match told["type"]:
            case "forward":
                self.forwarded[told["payload"]["id"]] += 1
            case "async_action":
                self.completions[told["payload"]["id"]] += 1
            case "sync":
                self.sync_ends[told["connectionId"], told["model"]] += 1
        return Response()
