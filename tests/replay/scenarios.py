"""What is done to have histories: whatever the engine does in a workflow, done once.

Each scenario has an environment of its own. What it starts need not have ended when it returns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import httpx
from temporalio.client import WorkflowFailureError, WorkflowHandle
from werkzeug import Response

from activities.maintenance import Sweep
from perdure.db.connections import Connection
from perdure.temporal.names import TaskQueue, WorkflowType
from tests.api.calls import connect, deploy
from tests.api.test_dry_runs import dry_run
from tests.api.test_syncs import command
from tests.integration.test_key_rotation import rotated
from tests.support.hooks import with_hooks
from tests.support.incoming import SAVING, handled_by, rules, sweep, take
from tests.support.project import project
from tests.support.receiver import Receiver
from tests.support.source import Source, issues
from tests.support.stack import Stack
from tests.support.tracked import tracked
from workflows.nango import pages_ahead

__all__ = ["SCENARIOS", "Scene"]

EVERYTHING = """
import asyncio, random, uuid
from datetime import datetime
from perdure import HttpError, NangoSync
from models import Issue


def shout(text: str) -> str:
    return text.upper()


async def fetch_data(nango: NangoSync) -> None:
    await nango.log("started", datetime.now().isoformat(), random.random())
    metadata = await nango.get_metadata()
    await nango.get_connection()
    async for page in nango.paginate(
        endpoint="/issues",
        paginate={
            "type": "cursor",
            "cursor_name_in_request": "cursor",
            "cursor_path_in_response": "next",
            "response_path": "items",
        },
    ):
        await nango.batch_save([Issue(id=i["id"], title=i["title"]) for i in page], "Issue")
    try:
        await nango.post(endpoint="/orders", data={"n": 1})
    except HttpError as error:
        await nango.log("no orders here:", str(error.status), level="warn")
    loud, _ = await asyncio.gather(nango.run(shout, "loud"), asyncio.sleep(1))
    await nango.batch_save([Issue(id=str(uuid.uuid4()), title=loud)], "Issue")
    await nango.batch_update([{"id": "2", "title": "changed"}], "Issue")
    await nango.batch_delete([{"id": "1"}], "Issue")
    await nango.get_records_by_ids(["2", "3"], "Issue")
    if metadata.get("fail"):
        raise ValueError("as the metadata asks")
"""

AT_ONCE = """
async def fetch_data(nango):
    for part in range(0, 20_000, 1_000):
        records = [{"id": str(part + n), "title": "x" * 200} for n in range(1_000)]
        await nango.batch_save(records, "Issue")
"""

PAST_THE_SCRIPT = """
from models import Issue


def to_issue(raw):
    return Issue(id=raw["id"], title=raw["title"])


async def fetch_data(nango):
    pages = nango.paginate(
        endpoint="/issues",
        paginate={
            "type": "cursor",
            "cursor_name_in_request": "cursor",
            "cursor_path_in_response": "next",
            "response_path": "items",
        },
    )
    saved = await pages.save("Issue", map=to_issue)
    await nango.log(f"{saved.pages} pages, {saved.added} added")
    await nango.save_checkpoint({"pages": saved.pages})
    await pages.delete("Issue", where=to_issue)
"""

CHECKPOINTS = """
async def fetch_data(nango):
    place = await nango.get_checkpoint()
    page = place["page"] if place else 1
    while page:
        answer = (await nango.get(endpoint="/issues", params={"cursor": str(page)})).data
        records = [{"id": i["id"], "title": i["title"]} for i in answer["items"]]
        await nango.batch_save(records, "Issue")
        page = answer["next"]
        if page:
            await nango.save_checkpoint({"page": page})
    await nango.clear_checkpoint()
"""

ITEMS = """
async def one(nango, n):
    if n < 2:
        await nango.get(endpoint="/issues")
        await nango.batch_save([{"id": str(n), "title": "x"}], "Issue")
    return n

async def fetch_data(nango):
    await nango.each(range(%s), one, concurrency=50)
"""

LATE = """
import asyncio

async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": "t"}], "Issue")
    await nango.get(endpoint="/issues")
    await asyncio.sleep(3600)
"""

RESTS = """
import asyncio

async def run_action(nango, input):
    await nango.get(endpoint="/issues")
    try:
        await asyncio.sleep(3600)
    finally:
        await nango.log("cleaned up")
"""

BROKEN = """
from perdure import ActionError

async def run_action(nango, input):
    await nango.get(endpoint="/issues")
    raise ActionError({"why": "as it asks"})
"""

LOOKS = """
async def on_event(nango):
    await nango.log("greetings to", nango.connection_id)
    await nango.get(endpoint="/issues")
    await nango.update_metadata({"greeted": True})
    await nango.try_acquire_lock(key="greeting", ttl_ms=1000)
    await nango.release_lock(key="greeting")
    await nango.trigger_sync("tracker", ["issues"])
"""

HELLO = {"text": "hello"}


@dataclass
class Scene:
    """Where a scenario plays.

    Attributes:
        stack: Its environment.
        api: A client with the key of it.
        source: A local API with 250 issues.
    """

    stack: Stack
    api: httpx.AsyncClient
    source: Source

    async def connected(self, files: dict[str, str], **more: Any) -> Connection:
        """Deploy, and make a connection that nothing follows."""
        await self.stack.deploy(files)
        return await self.stack.connect(self.source.url, **more)

    async def deployed(self, files: dict[str, str]) -> None:
        """Deploy, and make the connection `acme`, as users do."""
        await deploy(self.api, files)
        await connect(self.api, self.source.url)

    async def ended(self, number: int) -> list[dict[str, Any]]:
        """Wait until so many runs have ended; the oldest is first."""
        async with asyncio.timeout(300):
            while True:
                found = (await self.api.get("/runs")).json()["runs"]
                if len(found) >= number and all(run["status"] != "running" for run in found):
                    return list(reversed(found))
                await asyncio.sleep(0.1)


async def finished(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait for a run, however it ends."""
    with suppress(WorkflowFailureError):
        await handle.result()


async def _loop(scene: Scene) -> None:
    connection = await scene.connected(project(EVERYTHING))
    await finished(await scene.stack.start_sync(connection))


async def _loop_that_fails(scene: Scene) -> None:
    connection = await scene.connected(project(EVERYTHING), metadata={"fail": True})
    await finished(await scene.stack.start_sync(connection))


async def _loop_that_takes_too_long(scene: Scene) -> None:
    files = project(LATE)
    limited = "sync_type: full\n        run_timeout: 2s"
    files["nango.yaml"] = files["nango.yaml"].replace("sync_type: full", limited)
    connection = await scene.connected(files)
    await finished(await scene.stack.start_sync(connection))


async def _loop_whose_pages_are_taken_for_dear(scene: Scene) -> None:
    connection = await scene.connected(project())
    with patch.object(pages_ahead, "_LONG", 0):
        await finished(await scene.stack.start_sync(connection))


async def _loop_of_large_payloads(scene: Scene) -> None:
    scene.source.records = issues(1_000)
    connection = await scene.connected(project())
    await finished(await scene.stack.start_sync(connection))


async def _many_records_at_once(scene: Scene) -> None:
    connection = await scene.connected(project(AT_ONCE))
    await finished(await scene.stack.start_sync(connection))


async def _pages_past_the_script(scene: Scene) -> None:
    # So slow that more than one step is needed.
    scene.source.before = lambda _: time.sleep(0.6)
    connection = await scene.connected(project(PAST_THE_SCRIPT))
    await finished(await scene.stack.start_sync(connection))


async def _incremental(scene: Scene) -> None:
    files = project(PAST_THE_SCRIPT)
    files["nango.yaml"] = files["nango.yaml"].replace("sync_type: full", "sync_type: incremental")
    await scene.deployed(files)
    for number in (1, 2):
        await command(scene.api, "trigger")
        await scene.ended(number)


async def _checkpoints(scene: Scene) -> None:
    scene.source.records = issues(6_000)
    connection = await scene.connected(project(CHECKPOINTS))
    await finished(await scene.stack.start_sync(connection))


async def _tracked_and_confirmed_deletes(scene: Scene) -> None:
    await scene.deployed(tracked())
    await command(scene.api, "trigger")
    await scene.ended(1)
    scene.source.records = scene.source.records[:10]
    await command(scene.api, "trigger")
    await scene.ended(2)
    target = {"provider_config_key": "tracker", "connection_id": "acme", "sync": "issues"}
    answer = await scene.api.post("/sync/confirm-deletes", json=target | {"model": "Issue"})
    assert answer.status_code == 200, answer.text


async def _tracked(scene: Scene) -> None:
    connection = await scene.connected(tracked())
    for left in (250, 200):
        scene.source.records = scene.source.records[:left]
        await finished(await scene.stack.start_sync(connection))


async def _emptied_cache(scene: Scene) -> None:
    await scene.deployed(project())
    await command(scene.api, "trigger", opts={"reset": True, "emptyCache": True})
    await scene.ended(1)


async def _scheduled(scene: Scene) -> None:
    await scene.deployed(project(auto_start=True))
    await scene.ended(1)


async def _cancelled(scene: Scene) -> None:
    scene.source.before = lambda page: time.sleep(2) if page == 2 else None
    await scene.deployed(project())
    await command(scene.api, "trigger")
    while not (found := (await scene.api.get("/runs")).json()["runs"]):
        await asyncio.sleep(0.1)
    await scene.api.post(f"/runs/{found[0]['id']}/cancel")
    await scene.ended(1)


async def _variant(scene: Scene) -> None:
    await scene.deployed(project())
    target = {"provider_config_key": "tracker", "connection_id": "acme"}
    path = "/sync/issues/variant/eu"
    assert (await scene.api.request("POST", path, json=target)).status_code == 200
    await command(scene.api, "trigger", syncs=["issues::eu"])
    await scene.ended(1)
    assert (await scene.api.request("DELETE", path, json=target)).status_code == 200


async def _retried(scene: Scene) -> None:
    scene.source.before = lambda page: Response("no", status=403) if page == 3 else None
    connection = await scene.connected(project())
    handle = await scene.stack.start_sync(connection)
    await finished(handle)
    scene.source.before = lambda _: None
    answer = await scene.api.post(f"/runs/{handle.result_run_id}/retry", json={}, timeout=60)
    assert answer.status_code == 200, answer.text
    await finished(scene.stack.container.temporal.get_workflow_handle(handle.id))


async def _items(scene: Scene) -> None:
    connection = await scene.connected(project(ITEMS % 5))
    await finished(await scene.stack.start_sync(connection))


async def _batches_of_items(scene: Scene) -> None:
    connection = await scene.connected(project(ITEMS % 501))
    await finished(await scene.stack.start_sync(connection))


async def _dry_run(scene: Scene) -> None:
    await scene.deployed(project())
    await dry_run(scene.api, project(EVERYTHING))
    await dry_run(scene.api, project(), "echo", input=HELLO)


async def _action(scene: Scene) -> None:
    connection = await scene.connected(project(typed=True))
    await finished(await scene.stack.start_action(connection, HELLO))


async def _action_that_fails(scene: Scene) -> None:
    connection = await scene.connected(project(action=BROKEN))
    await finished(await scene.stack.start_action(connection, HELLO))


async def _queued_action(scene: Scene) -> None:
    connection = await scene.connected(project())
    options = {"queued": True, "ordered": True, "max_retries": 1}
    await finished(await scene.stack.start_action(connection, HELLO, **options))


async def _action_that_takes_too_long(scene: Scene) -> None:
    files = project(action=RESTS)
    limited = "endpoint: POST /echo\n        run_timeout: 1s"
    files["nango.yaml"] = files["nango.yaml"].replace("endpoint: POST /echo", limited)
    connection = await scene.connected(files)
    await finished(await scene.stack.start_action(connection, HELLO, keeps_record=True))


async def _webhooks_together(scene: Scene) -> None:
    await scene.connected(handled_by(SAVING))
    await rules(scene.stack, signature=None)
    for number in (1, 2):
        await take(scene.stack, {"id": number, "title": "a"})
    await sweep(scene.stack)
    await scene.ended(2)


async def _webhooks_apart(scene: Scene) -> None:
    # A script that asks for anything but saving and logging has a run of its own.
    handler = f"{SAVING}\n    await nango.get_metadata()"
    handler += "\n    if payload['id'] == 2:\n        raise ValueError('as it asks')"
    await scene.connected(handled_by(handler))
    await rules(scene.stack, signature=None)
    for number in (1, 2):
        await take(scene.stack, {"id": number, "title": "a"})
    await sweep(scene.stack)
    await scene.ended(2)


async def _delivered_webhook(scene: Scene) -> None:
    receiver = Receiver(scene.source.server)
    receiver.before = lambda number: Response("", 503) if number == 1 else None
    await scene.stack.container.database.webhook_settings.change(
        scene.stack.environment.id, {"primary_url": receiver.url}
    )
    await scene.deployed(project())
    await command(scene.api, "trigger")
    await receiver.until(1)


async def _deploy(scene: Scene) -> None:
    await deploy(scene.api, project())
    for number in range(60):
        await scene.stack.connect(scene.source.url, connection_id=f"c{number}")
    await deploy(scene.api, project(EVERYTHING, auto_start=False))


async def _connection_with_hooks(scene: Scene) -> None:
    ok, fails = "async def on_event(nango): ...", "async def on_event(nango): raise ValueError"
    scripts = {"check": ok, "greet": LOOKS, "fails": fails, "bye": ok}
    hooks = {"validate": ["check"], "create": ["greet", "fails"], "delete": ["bye"]}
    await scene.deployed(with_hooks(**hooks, scripts=scripts))
    await scene.ended(3)
    target = {"provider_config_key": "tracker"}
    answer = await scene.api.delete("/connections/acme", params=target)
    assert answer.status_code == 200, answer.text


async def _maintenance(scene: Scene) -> None:
    await scene.stack.container.temporal.execute_workflow(
        WorkflowType.MAINTENANCE,
        Sweep(),
        id=f"maintenance-{scene.stack.environment.name}",
        task_queue=TaskQueue.ACTIONS,
    )


async def _rotated_keys(scene: Scene) -> None:
    await scene.deployed(project(auto_start=True))
    await rotated(scene.api)


SCENARIOS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "action": _action,
    "action-fails": _action_that_fails,
    "action-late": _action_that_takes_too_long,
    "action-queued": _queued_action,
    "batches": _batches_of_items,
    "cancelled": _cancelled,
    "checkpoints": _checkpoints,
    "confirmed": _tracked_and_confirmed_deletes,
    "delivery": _delivered_webhook,
    "deploy": _deploy,
    "dry-run": _dry_run,
    "emptied": _emptied_cache,
    "hooks": _connection_with_hooks,
    "incremental": _incremental,
    "items": _items,
    "keys": _rotated_keys,
    "loop": _loop,
    "loop-fails": _loop_that_fails,
    "loop-large": _loop_of_large_payloads,
    "loop-late": _loop_that_takes_too_long,
    "loop-paused": _loop_whose_pages_are_taken_for_dear,
    "maintenance": _maintenance,
    "many-records": _many_records_at_once,
    "pages": _pages_past_the_script,
    "retried": _retried,
    "scheduled": _scheduled,
    "tracked": _tracked,
    "variant": _variant,
    "webhooks": _webhooks_apart,
    "webhooks-together": _webhooks_together,
}
"""Scenarios by the name that their histories begin with."""
