"""Real servers on free ports of loopback, and a client that may reach them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer

from perdure.connections.credentials import ApiKeyCredentials
from perdure.providers.provider import Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.proxy.client import ProxyClient
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport

RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
RawServer = Callable[[RawHandler], AbstractAsyncContextManager[str]]

API_KEY = "sk_test_4711"


@pytest.fixture(scope="session")
def catalog() -> ProviderCatalog:
    return ProviderCatalog.load()


@pytest.fixture
def provider(catalog: ProviderCatalog) -> Provider:
    return catalog.get("generic-api-key")


@pytest.fixture
def credentials() -> ApiKeyCredentials:
    return ApiKeyCredentials(api_key=SecretStr(API_KEY))


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    async with HttpTransport(AddressGuard(allow_private_networks=True)) as transport:
        yield transport


@pytest.fixture
def client(transport: HttpTransport) -> ProxyClient:
    return ProxyClient(transport)


@pytest.fixture
def other_server() -> Iterator[HTTPServer]:
    """A server of another origin than `httpserver`."""
    with HTTPServer(host="127.0.0.1", port=0) as server:
        yield server


@pytest.fixture
def raw_server() -> RawServer:
    """Serves each connection by a function that writes what it likes."""

    @asynccontextmanager
    async def serve(handler: RawHandler) -> AsyncIterator[str]:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    return serve
