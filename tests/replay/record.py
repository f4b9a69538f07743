"""Records histories in `histories/`: run `python -m tests.replay.record [NAME ...]`.

A fixture must come from code that is deployed, never from the change it is to judge. With names
only those are recorded, and the others stay as they are.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
import time
from base64 import b64encode
from contextlib import AsyncExitStack
from pathlib import Path
from unittest.mock import patch

from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from temporalio.client import WorkflowFailureError, WorkflowHandle

from activities.connection_starts import start_connection_workflow
from perdure.app.container import open_container
from perdure.app.worker import workers
from perdure.db.connections import Connection
from perdure.db.migrate import migrate
from perdure.embedded import embedded_postgres, embedded_temporal
from perdure.ids import webhook_dispatch_workflow_id, webhook_workflow_id
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import register_search_attributes
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import ConnectionInput, DeployInput
from tests.support.hooks import with_hooks
from tests.support.incoming import SAVING, handled_by, rules, sweep, take
from tests.support.project import project
from tests.support.source import Source, issues
from tests.support.stack import Stack, settings_for
from tests.support.tracked import tracked
from workflows.nango import pages_ahead

HISTORIES = Path(__file__).parent / "histories"

KEY = f"replay:{b64encode(bytes(32)).decode()}"
"""Key of what is encrypted in the fixtures. It protects nothing."""

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
    await nango.batch_delete([{"id": "1"}], "Issue")
    if metadata.get("fail"):
        raise ValueError("as the metadata asks")
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

HELLO = {"text": "hello"}

LOOKS = """
async def on_event(nango):
    await nango.log("greetings to", nango.connection_id)
    await nango.get(endpoint="/issues")
    await nango.update_metadata({"greeted": True})
    await nango.try_acquire_lock(key="greeting", ttl_ms=1000)
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


LATE = """
import asyncio

async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": "t"}], "Issue")
    await nango.get(endpoint="/issues")
    await asyncio.sleep(3600)
"""


_FOLDERS = re.compile(
    r"(?<=File \\\")/[^\"]*?(?=(?:perdure|workflows|activities|lib/python[0-9.]+)/)"
)


async def save(name: str, handle: WorkflowHandle) -> None:
    try:
        await handle.result()
    except WorkflowFailureError as error:  # a failed run is a fixture too
        print(f"{name}: {error.__cause__ or error}")
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    history = await handle.fetch_history()
    # Stack traces name folders of this machine, which is nobody's business.
    (HISTORIES / f"{name}.json").write_text(_FOLDERS.sub("/app/", history.to_json()) + "\n")
    print(f"{name}: {len(history.events)} events")


async def record_webhooks(environment: Stack, connection: Connection) -> None:
    """Have webhooks of a connection handled: together, and each in its own run."""
    container, name = environment.container, environment.environment.name
    dispatch = container.temporal.get_workflow_handle(
        webhook_dispatch_workflow_id(name, connection.key)
    )
    await environment.deploy(handled_by(SAVING))
    await rules(environment, signature=None)
    await take_two(environment)
    await sweep(environment)
    await save("webhook-dispatch-together", dispatch)

    # A script that asks for anything but saving and logging has a run of its own.
    handler = f"{SAVING}\n    await nango.get_metadata()"
    handler += "\n    if payload['id'] == 2:\n        raise ValueError('as it asks')"
    await environment.deploy(handled_by(handler))
    await take_two(environment)
    tasks = await container.database.webhook_events.due(connection.key, 10)
    await sweep(environment)
    await save("webhook-dispatch-success", dispatch)
    for task, outcome in zip(tasks, ("success", "failure"), strict=True):
        workflow_id = webhook_workflow_id(name, task.id)
        await save(f"webhook-{outcome}", container.temporal.get_workflow_handle(workflow_id))


async def take_two(environment: Stack) -> None:
    for number in (1, 2):
        await take(environment, {"id": number, "title": "a"})


async def start_deploy(environment: Stack) -> WorkflowHandle:
    active = await environment.container.database.bundles.active(environment.environment.id)
    assert active is not None
    return await environment.container.temporal.start_workflow(
        WorkflowType.DEPLOY,
        DeployInput(
            environment=environment.environment.name,
            environment_id=environment.environment.id,
            bundle=active.hash,
        ),
        id=f"deploy/{environment.environment.name}",
        task_queue=TaskQueue.ACTIONS,
    )


async def record_connection(environment: Stack, source: Source) -> None:
    """Make a connection with hooks that succeed and fail, and delete it."""
    client, database = environment.container.temporal, environment.container.database
    ok, fails = "async def on_event(nango): ...", "async def on_event(nango): raise ValueError"
    scripts = {"check": ok, "greet": LOOKS, "fails": fails, "bye": ok}
    hooks = {"validate": ["check"], "create": ["greet", "fails"], "delete": ["bye"]}
    await environment.deploy(with_hooks(**hooks, scripts=scripts))
    connection, _ = await database.connections.save(
        environment.environment.id,
        "tracker",
        "hooked",
        {"type": "API_KEY", "apiKey": "k"},
        connection_config={"baseUrl": source.url},
        awaits_setup=True,
    )
    target = ConnectionInput(
        environment=environment.environment.name,
        environment_id=environment.environment.id,
        integration="tracker",
        connection_id="hooked",
        connection_key=connection.key,
        operation="creation",
    )
    for workflow in (WorkflowType.CONNECTION_CREATE, WorkflowType.CONNECTION_DELETE):
        handle = await start_connection_workflow(client, workflow, target)
        await save(f"{workflow}-success", handle)
    for run in await database.runs.list(environment.environment.id, kind="on-event"):
        name = {"greet": "on-event-success", "fails": "on-event-failure"}.get(run.script)
        if name is not None:
            await save(name, client.get_workflow_handle(run.workflow_id, run_id=run.id))


async def record_timeout(environment: Stack, connection: Connection) -> None:
    """Run an action that takes longer than it may."""
    files = project(action=RESTS)
    limited = "endpoint: POST /echo\n        run_timeout: 1s"
    files["nango.yaml"] = files["nango.yaml"].replace("endpoint: POST /echo", limited)
    await environment.deploy(files)
    late = await environment.start_action(connection, HELLO, keeps_record=True)
    await save("action-timeout", late)


async def record_loops(environment: Stack, connection: Connection) -> None:
    """Run a sync that takes longer than it may, and one whose pages are all taken for dear."""
    files = project(LATE)
    limited = "sync_type: full\n        run_timeout: 2s"
    files["nango.yaml"] = files["nango.yaml"].replace("sync_type: full", limited)
    await environment.deploy(files)
    await save("sync-timeout", await environment.start_sync(connection))
    await environment.deploy(project())
    with patch.object(pages_ahead, "_LONG", 0):
        await save("sync-paused-success", await environment.start_sync(connection))


async def record_pages(environment: Stack, connection: Connection, source: Source) -> None:
    """Save pages past the script that come so slowly that more than one step is needed."""
    await environment.deploy(project(PAST_THE_SCRIPT))
    source.before = lambda _: time.sleep(0.6)
    await save("sync-pages-success", await environment.start_sync(connection))
    source.before = lambda _: None


async def main() -> None:
    HISTORIES.mkdir(exist_ok=True)
    server = HTTPServer(host="127.0.0.1")
    server.start()
    async with AsyncExitStack() as stack:
        stack.callback(server.stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = await stack.enter_async_context(embedded_postgres(folder / "postgres"))
        await migrate(url)
        address = await stack.enter_async_context(embedded_temporal(folder / "temporal"))
        settings = settings_for(url, address, encryption_keys=SecretStr(KEY))
        container = await stack.enter_async_context(open_container(settings, name="record"))
        await register_search_attributes(container.temporal)
        guard = AddressGuard(allow_private_networks=True)
        transport = await stack.enter_async_context(HttpTransport(guard))
        for worker in workers(container, transport):
            await stack.enter_async_context(worker)
        source = Source(server, issues(250))
        environment = await Stack.create(container)
        await environment.deploy(project(EVERYTHING))
        ok = await environment.connect(source.url, connection_id="acme")
        await save("sync-success", await environment.start_sync(ok))
        failing = await environment.connect(
            source.url, connection_id="broken", metadata={"fail": True}
        )
        await save("sync-failure", await environment.start_sync(failing))
        # The two before are of a time when each page and each batch was a step of its own.
        await save("sync-ahead-success", await environment.start_sync(ok))
        await save("sync-ahead-failure", await environment.start_sync(failing))
        await save("action-success", await environment.start_action(ok, HELLO))
        queued = {"queued": True, "ordered": True, "max_retries": 1}
        await save("action-queued-success", await environment.start_action(ok, HELLO, **queued))
        await record_timeout(environment, ok)
        await record_loops(environment, ok)
        await environment.deploy(tracked())
        await save("sync-tracked-success", await environment.start_sync(ok))
        await record_pages(environment, ok, source)
        await record_webhooks(environment, ok)
        for number in range(60):
            await environment.connect(source.url, connection_id=f"c{number}")
        await save("deploy-success", await start_deploy(environment))
        await record_connection(environment, source)


if __name__ == "__main__":
    asyncio.run(main())
