"""A stack whose processes are killed and come back; tests use connections of their own on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.dev import DevServer, dev_server


@pytest.fixture(scope="session")
async def dev(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    """A running `perdure dev`; whoever uses it deploys first."""
    async with dev_server(tmp_path_factory.mktemp("dev")) as server:
        yield server
