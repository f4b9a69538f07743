"""The API in this process, on the session's real Postgres and Temporal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.embedded.ports import choose_ports
from tests.api.calls import client_of, connect, deploy
from tests.support.connect import app_with_providers
from tests.support.project import project
from tests.support.proxy_calls import calling
from tests.support.source import Source
from tests.support.stack import Stack

UI_URL = "http://ui.example:8233"


@asynccontextmanager
async def running_app(container: Container) -> AsyncIterator[FastAPI]:
    """The API, with its lifespan."""
    settings = container.settings.model_copy(update={"temporal_ui_url": UI_URL})
    app = create_app(replace(container, settings=settings))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
async def app(container: Container) -> AsyncIterator[FastAPI]:
    """The API that tests share: its first request prepares all routes, which takes a while."""
    async with running_app(container) as app:
        yield app


@pytest.fixture
async def own_app(container: Container) -> AsyncIterator[FastAPI]:
    """One of a test's own, which may be stopped, or remember who asked."""
    async with running_app(container) as app:
        yield app


@pytest.fixture
async def environment(container: Container) -> Stack:
    """An environment of its own; no workers run for its sake."""
    return await Stack.create(container)


@pytest.fixture
async def api(app: FastAPI, environment: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key of `environment`."""
    async with client_of(app, environment.secret_key) as client:
        yield client


@pytest.fixture
async def stranger(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    async with client_of(app, None) as client:
        yield client


@pytest.fixture
async def live(app: FastAPI, stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key of `stack`, for which workers run."""
    async with client_of(app, stack.secret_key) as client:
        yield client


@pytest.fixture
async def connected(live: httpx.AsyncClient, source: Source) -> httpx.AsyncClient:
    """As `live`, with the project of `tests.support` deployed and connection `acme` made."""
    await deploy(live, project())
    await connect(live, source.url)
    return live


@pytest.fixture
async def caller(app: FastAPI, environment: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """Calls through `/proxy` over a real connection, for the connection `acme`."""
    async with calling(app, environment) as client:
        yield client


@pytest.fixture(scope="session")
async def without_temporal(settings: Settings) -> AsyncIterator[FastAPI]:
    """The API while nothing listens at Temporal's address."""
    port = choose_ports({"nobody": 0})["nobody"]
    address = {"temporal_address": f"127.0.0.1:{port}"}
    async with open_container(
        settings.model_copy(update=address), name="perdure-tests-offline", lazy=True
    ) as container:
        yield create_app(container)


@pytest.fixture
async def offline(
    without_temporal: FastAPI, environment: Stack
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `without_temporal` with the key of `environment`."""
    async with client_of(without_temporal, environment.secret_key) as client:
        yield client


@pytest.fixture
async def providing(container: Container, tmp_path: Path) -> AsyncIterator[FastAPI]:
    """The API with local providers."""
    url = "https://api.example.com"
    async with app_with_providers(container, tmp_path, server_url=url) as app:
        yield app


@pytest.fixture
async def shop(providing: FastAPI, stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """The application, with a key of its environment."""
    async with client_of(providing, stack.secret_key) as client:
        yield client


@pytest.fixture
async def browser(providing: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """An end user, with cookies and without a key."""
    async with client_of(providing, None) as client:
        client.base_url = httpx.URL("https://api.example.com")
        yield client
