"""Records histories in `histories/<version>/`: run `python -m tests.replay.record [SCENARIO ...]`.

A fixture must come from code that is released, never from the change it is to judge. With names
only those scenarios are recorded anew, and the others stay as they are.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import sys
import tempfile
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHistory

from api.app import create_app
from perdure._version import __version__
from perdure.app.container import Container, open_container
from perdure.app.worker import workers
from perdure.db.migrate import migrate
from perdure.embedded import embedded_postgres, embedded_temporal
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import register_search_attributes
from perdure.temporal.external_storage import claimed_keys
from tests.api.calls import client_of
from tests.replay.scenarios import SCENARIOS, Scene
from tests.support.source import Source, issues
from tests.support.stack import Stack, settings_for

HISTORIES = Path(__file__).parent / "histories"
CURRENT = HISTORIES / __version__
BLOBS = CURRENT / "blobs"

KEY = f"replay:{b64encode(bytes(32)).decode()}"
"""Key of what is encrypted in the fixtures. It protects nothing."""

_HISTORY_EVENTS = 4_000
"""As the workers are told; a run starts again at a checkpoint after a fifth of it."""

_FOLDERS = re.compile(
    r"(?<=File \\\")/[^\"]*?(?=(?:perdure|workflows|activities|lib/python[0-9.]+)/)"
)


def written(history: WorkflowHistory) -> bytes:
    """A history as it is committed."""
    # Stack traces name folders of this machine, which is nobody's business.
    return gzip.compress(_FOLDERS.sub("/app/", history.to_json()).encode(), 9, mtime=0)


def read(path: Path) -> str:
    """The JSON of a committed history."""
    return gzip.decompress(path.read_bytes()).decode()


class CommittedBlobs:
    """What is too large for a history, as it is committed beside those that name it."""

    async def put_many(self, blobs: Mapping[str, bytes], *, lasting: bool) -> None:
        """A replay comes to what the run has stored."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = (HISTORIES.glob(f"*/blobs/{key}.gz") for key in keys)
        return {file.stem: gzip.decompress(file.read_bytes()) for files in found for file in files}


async def keep_blobs(container: Container, history: WorkflowHistory) -> None:
    """Write down the large payloads that a history names."""
    keys = {key for event in history.events for key in claimed_keys(event.SerializeToString())}
    for key, blob in (await container.database.blobs.get_many([*keys])).items():
        BLOBS.mkdir(exist_ok=True)
        (BLOBS / f"{key}.gz").write_bytes(gzip.compress(blob, 9, mtime=0))


def course_of(history: WorkflowHistory) -> tuple[object, ...]:
    """What happened, and in which steps, without the data of this run."""
    scheduled = (event.activity_task_scheduled_event_attributes for event in history.events)
    steps = (attributes.activity_type.name for attributes in scheduled)
    return tuple(zip((event.event_type for event in history.events), steps, strict=True))


async def executions(client: Client, known: set[str]) -> dict[str, tuple[str, str]]:
    """Type and workflow id of what was started since, by run id, once all of it has ended."""
    found: dict[str, tuple[str, str]] = {}
    quiet = 0
    # Visibility is a little late, and what has ended may start something else.
    while quiet < 5:
        before, found, running = len(found), {}, 0
        async for item in client.list_workflows():
            if item.run_id not in known:
                found[item.run_id] = (item.workflow_type, item.id)
                running += item.status == WorkflowExecutionStatus.RUNNING
        quiet = quiet + 1 if len(found) == before and not running else 0
        await asyncio.sleep(0.3)
    return found


async def keep(container: Container, label: str, known: set[str]) -> None:
    """Write what a scenario led to, one history for each course that a workflow type took."""
    for old in CURRENT.glob(f"{label}.*"):
        old.unlink()
    client = container.temporal
    courses: dict[str, set[tuple[object, ...]]] = {}
    async with asyncio.timeout(300):
        found = await executions(client, known)
    for run_id, (workflow, workflow_id) in sorted(found.items(), key=lambda item: item[1]):
        known.add(run_id)
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        history = await handle.fetch_history()
        course, seen = course_of(history), courses.setdefault(workflow, set())
        if course in seen:
            continue
        seen.add(course)
        number = "" if len(seen) == 1 else f".{len(seen)}"
        (CURRENT / f"{label}.{workflow}{number}.json.gz").write_bytes(written(history))
        await keep_blobs(container, history)
        print(f"{label}.{workflow}{number}: {len(history.events)} events")


async def play(container: Container, label: str, server: HTTPServer, known: set[str]) -> None:
    server.clear()
    stack = await Stack.create(container)
    async with client_of(create_app(container), stack.secret_key) as api:
        await SCENARIOS[label](Scene(stack, api, Source(server, issues(250))))
        await keep(container, label, known)


async def main() -> None:
    CURRENT.mkdir(parents=True, exist_ok=True)
    server = HTTPServer(host="127.0.0.1")
    server.start()
    async with AsyncExitStack() as stack:
        stack.callback(server.stop)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = await stack.enter_async_context(embedded_postgres(folder / "postgres"))
        await migrate(url)
        address = await stack.enter_async_context(embedded_temporal(folder / "temporal"))
        settings = settings_for(
            url,
            address,
            encryption_keys=SecretStr(KEY),
            temporal_history_events=_HISTORY_EVENTS,
        )
        container = await stack.enter_async_context(open_container(settings, name="record"))
        await register_search_attributes(container.temporal)
        guard = AddressGuard(allow_private_networks=True)
        transport = await stack.enter_async_context(HttpTransport(guard))
        for worker in workers(container, transport):
            await stack.enter_async_context(worker)
        known: set[str] = set()
        for label in sys.argv[1:] or SCENARIOS:
            await play(container, label, server, known)


if __name__ == "__main__":
    asyncio.run(main())
