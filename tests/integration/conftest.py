"""What the integration tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from api.app import create_app
from tests.api.calls import client_of
from tests.support.deploys import Deploys
from tests.support.stack import Stack


@pytest.fixture
async def env(stack: Stack) -> AsyncIterator[Deploys]:
    async with client_of(create_app(stack.container), stack.secret_key) as client:
        yield Deploys(stack, client)
