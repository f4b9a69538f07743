"""Schedules that syncs lack are made again, and nobody lists them where none is lacking."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, WorkflowService
from temporalio.testing import ActivityEnvironment

from activities.erasure import Erasure
from activities.maintenance import Sweep
from activities.reconciliation import Reconciler
from activities.schedule_repair import ScheduleRepair
from activities.sync_runs import SyncRuns
from perdure.db.environments import Environment, EnvironmentStore
from tests.support.deploys import Deploys, files

TWO_SYNCS = files("issues: Issue, auto_start false", "people: Person, auto_start false")


@pytest.fixture
def listings(env: Deploys, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Note every listing of schedules, and let the repair see this test's environment alone."""
    made: list[str | None] = []
    real = Client.list_schedules

    async def list_schedules(client: Client, query: str | None = None, **how: Any) -> Any:
        made.append(query)
        return await real(client, query, **how)

    async def only_this_one(store: EnvironmentStore) -> list[Environment]:
        return [await store.by_id(env.stack.environment.id)]

    monkeypatch.setattr(Client, "list_schedules", list_schedules)
    monkeypatch.setattr(EnvironmentStore, "all", only_this_one)
    return made


async def repair(env: Deploys) -> int:
    """Return how many schedules were made again."""
    container = env.stack.container
    database, schedules = container.database, container.schedules
    runs = SyncRuns(database, container.temporal, schedules)
    erasure = Erasure(database, container.bundles)
    reconciler = Reconciler(database, container.bundles, schedules, erasure, runs)
    step = ScheduleRepair(database, container.temporal, reconciler).restore_schedules
    return (await ActivityEnvironment().run(step, Sweep())).count


async def until_not_listed(env: Deploys, listings: list[str | None]) -> None:
    """Repair until the server's count has caught up."""
    async with asyncio.timeout(30):
        while True:
            listings.clear()
            assert await repair(env) == 0
            if not listings:
                return
            await asyncio.sleep(0.2)


async def test_schedules_are_listed_only_where_one_is_lacking(
    env: Deploys, listings: list[str | None]
) -> None:
    await env.deploy(TWO_SYNCS)
    acme = await env.connect()
    await env.follow_new_connection(acme)
    await until_not_listed(env, listings)

    await env.stack.container.schedules.forget(env.stack.sync_input(acme, "people"))

    async with asyncio.timeout(30):
        while await repair(env) == 0:
            await asyncio.sleep(0.2)
    assert listings
    assert await env.has_schedule(acme, "people")
    assert await env.has_schedule(acme, "issues")
    await until_not_listed(env, listings)


async def test_server_that_cannot_count_schedules_is_asked_for_the_list(
    env: Deploys, listings: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise RPCError("unknown method CountSchedules", RPCStatusCode.UNIMPLEMENTED, b"")

    monkeypatch.setattr(WorkflowService, "count_schedules", refuse, raising=False)
    await env.deploy(TWO_SYNCS)
    acme = await env.connect()
    await env.follow_new_connection(acme)

    assert await repair(env) == 0

    assert len(listings) == 1
