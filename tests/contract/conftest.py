"""Nango's own client in a process of its own, and the API behind a real socket."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from perdure.app.container import Container
from perdure.db.connections import Connection
from tests.api.calls import connect
from tests.support.npm import npm_install
from tests.support.project import project
from tests.support.serving import served
from tests.support.source import Source
from tests.support.stack import Stack

HERE = Path(__file__).parent


class ClientError(Exception):
    """A call of the client failed.

    Attributes:
        status: Status of the answer, None where there was none.
        data: Body of the answer.
    """

    def __init__(self, message: str, status: int | None, data: Any) -> None:
        super().__init__(message)
        self.status = status
        self.data = data

    @property
    def code(self) -> str:
        """Code of the error."""
        return str(self.data["error"]["code"])


@dataclass
class NodeClient:
    """Nango's client, method by method."""

    process: asyncio.subprocess.Process
    host: str

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method and return what it returned.

        Raises:
            ClientError: It threw.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = json.dumps({"method": method, "args": args}) + "\n"
        self.process.stdin.write(line.encode())
        async with asyncio.timeout(60):
            answer = json.loads(await self.process.stdout.readline())
        if failure := answer.get("failure"):
            raise ClientError(failure["message"], failure.get("status"), failure.get("data"))
        return answer.get("value")


@pytest.fixture(scope="session")
def node_modules() -> None:
    """Nango's client, installed."""
    npm_install(HERE)


@pytest.fixture
def served_container(container: Container) -> Container:
    """What the API is made of."""
    return container


@pytest.fixture
async def address(served_container: Container) -> AsyncIterator[str]:
    """Where the API listens."""
    app = create_app(served_container)
    async with app.router.lifespan_context(app), served(app) as url:
        yield url


@pytest.fixture
async def nango(node_modules: None, address: str, stack: Stack) -> AsyncIterator[NodeClient]:
    """The client with the key of `stack`, for which workers run."""
    signing_key = await stack.container.database.webhook_settings.signing_key(stack.environment.id)
    settings = {
        "PERDURE_HOST": address,
        "PERDURE_KEY": stack.secret_key,
        "PERDURE_SIGNING_KEY": signing_key,
    }
    process = await asyncio.create_subprocess_exec(
        "node",
        "driver.js",
        cwd=HERE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | settings,
        limit=64 * 1024 * 1024,
    )
    try:
        yield NodeClient(process, address)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def connection(address: str, stack: Stack, source: Source) -> Connection:
    """Connection `acme` of the integration `tracker`, whose scripts are deployed."""
    await stack.deploy(project())
    headers = {"authorization": f"Bearer {stack.secret_key}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as client:
        await connect(client, source.url)
    return await stack.container.database.connections.get(stack.environment.id, "tracker", "acme")
