"""Processes are killed at each step of a connection's creation and deletion; both go on there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from tests.support.dev import DevServer, dev_server
from tests.support.hooks import HookTarget, hook_target, with_hooks

PATIENCE = 120
HOOKS = {"validate": ["check"], "create": ["greet", "set-up"], "delete": ["bye", "gone"]}
CREATION = ["check", "greet", "set-up"]
DELETION = ["bye", "gone"]
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
async def dev(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    async with dev_server(tmp_path_factory.mktemp("dev")) as server:
        await server.deploy(with_hooks(**HOOKS, auto_start=True))
        yield server


@pytest.fixture
def target() -> Iterator[HookTarget]:
    with hook_target() as target:
        yield target


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def has_asked(event: HistoryEvent, step: str) -> bool:
    """Say whether a step is about to begin; what takes no task stands in no event before its end.

    What comes right before it does: the first workflow task, a hook's end, the schedules' end.
    """
    match step:
        case "begin_setup":
            return event.HasField("workflow_task_started_event_attributes")
        case "note_validated":
            return event.HasField("child_workflow_execution_completed_event_attributes")
        case "finish_setup":
            return event.HasField("activity_task_completed_event_attributes")
    return event.activity_task_scheduled_event_attributes.activity_type.name == step


async def until_step(dev: DevServer, workflow_id: str, step: str) -> None:
    """Wait until a workflow has asked for a step."""
    client = await Client.connect(dev.info["temporal_address"])
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(Exception):
                history = await client.get_workflow_handle(workflow_id).fetch_history()
                if any(has_asked(event, step) for event in history.events):
                    return
            await asyncio.sleep(0.01)


async def ended(dev: DevServer, workflow_id: str) -> None:
    client = await Client.connect(dev.info["temporal_address"])
    async with asyncio.timeout(PATIENCE):
        await client.get_workflow_handle(workflow_id).result()


async def ask(dev: DevServer, method: str, path: str, **options: Any) -> httpx.Response | None:
    """Ask the API, which may be killed before it answers."""
    with suppress(httpx.TransportError):
        return await dev.client.request(method, path, timeout=PATIENCE, **options)
    return None


def creation(dev: DevServer, url: str, name: str) -> asyncio.Task[httpx.Response | None]:
    body = {
        "provider_config_key": "tracker",
        "connection_id": name,
        "connection_config": {"baseUrl": url},
        "credentials": {"type": "API_KEY", "api_key": "k"},
    }
    return asyncio.create_task(ask(dev, "POST", "/connections", json=body))


def deletion(dev: DevServer, name: str) -> asyncio.Task[httpx.Response | None]:
    path = f"/connections/{name}?provider_config_key=tracker"
    return asyncio.create_task(ask(dev, "DELETE", path))


async def killed(dev: DevServer, process: str) -> None:
    """Kill a process, and wait until it has been started again."""
    pid = dev.kill(process)
    await until(lambda: dev.info["pids"][process] != pid)
    if process == "api":
        await dev.answering()


async def hook_runs(dev: DevServer, name: str) -> list[tuple[str, str]]:
    found = await dev.call("GET", f"/runs?kind=on-event&connection_id={name}")
    return [(run["script"], run["status"]) for run in reversed(found["runs"])]


async def integration(dev: DevServer) -> None:
    known = (await dev.call("GET", "/integrations"))["data"]
    if not known:
        body = {"provider": "generic-api-key", "unique_key": "tracker"}
        await dev.call("POST", "/integrations", json=body)


def calls_of(hooks: list[str], interrupted: str) -> dict[str, int]:
    """Each hook calls once; one that is interrupted in its call repeats that."""
    return {name: 2 if name == interrupted else 1 for name in hooks}


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize(
    ("process", "step"),
    [
        ("worker", "greet"),
        ("api", "check"),
        pytest.param("worker", "check", marks=SLOW),
        pytest.param("worker", "set-up", marks=SLOW),
        pytest.param("api", "set-up", marks=SLOW),
        pytest.param("worker", "begin_setup", marks=SLOW),
        pytest.param("worker", "note_validated", marks=SLOW),
        pytest.param("worker", "ensure_connection_schedules", marks=SLOW),
        pytest.param("worker", "finish_setup", marks=SLOW),
        pytest.param("api", "begin_setup", marks=SLOW),
        pytest.param("api", "ensure_connection_schedules", marks=SLOW),
    ],
)
async def test_creation_goes_on_where_it_was(
    dev: DevServer, target: HookTarget, process: str, step: str
) -> None:
    await integration(dev)
    name = f"create-{process}-{step}"
    workflow_id = f"connection-create/dev/tracker/{name}"
    is_hook = step in CREATION
    if is_hook:
        target.held.add(step)
    asked = creation(dev, target.url, name)

    await (until(lambda: step in target.calls) if is_hook else until_step(dev, workflow_id, step))
    await killed(dev, process)
    target.release()
    await ended(dev, workflow_id)
    await asked

    assert await hook_runs(dev, name) == [(hook, "success") for hook in CREATION]
    interrupted = step if process == "worker" else ""
    assert target.counted == calls_of(CREATION, interrupted)
    assert [call for call, _ in zip(dict.fromkeys(target.calls), CREATION, strict=True)] == CREATION
    assert (await dev.finished_run(name))["status"] == "success"
    found = await dev.call("GET", f"/connections/{name}?provider_config_key=tracker")
    assert found["errors"] == []


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize(
    ("process", "step"),
    [
        ("worker", "bye"),
        pytest.param("api", "bye", marks=SLOW),
        pytest.param("worker", "gone", marks=SLOW),
        pytest.param("worker", "begin_deletion", marks=SLOW),
        pytest.param("worker", "delete_connection_schedules", marks=SLOW),
        pytest.param("worker", "delete_connection", marks=SLOW),
        pytest.param("api", "begin_deletion", marks=SLOW),
        pytest.param("api", "delete_connection", marks=SLOW),
    ],
)
async def test_deletion_goes_on_where_it_was(
    dev: DevServer, target: HookTarget, process: str, step: str
) -> None:
    await integration(dev)
    name = f"delete-{process}-{step}"
    workflow_id = f"connection-delete/dev/tracker/{name}"
    made = await creation(dev, target.url, name)
    assert made is not None
    assert made.status_code == 200, made.text
    await dev.finished_run(name)
    target.calls.clear()
    is_hook = step in DELETION
    if is_hook:
        target.held.add(step)
    asked = deletion(dev, name)

    await (until(lambda: step in target.calls) if is_hook else until_step(dev, workflow_id, step))
    await killed(dev, process)
    target.release()
    await ended(dev, workflow_id)
    await asked

    runs = await hook_runs(dev, name)
    assert runs == [(hook, "success") for hook in CREATION + DELETION]
    assert target.counted == calls_of(DELETION, step if process == "worker" else "")
    query = f"/connections/{name}?provider_config_key=tracker"
    await dev.call("GET", query, expect=404)
    client = await Client.connect(dev.info["temporal_address"])
    schedule = client.get_schedule_handle(f"sync/dev/tracker/{name}/issues/base")
    with pytest.raises(Exception, match=r"not found|no rows"):
        await schedule.describe()
