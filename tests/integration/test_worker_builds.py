"""Upgrades of the worker: which build is given new runs, and where those under way go on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from werkzeug import Response

from api.app import create_app
from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.app.worker import locate_script, workers
from perdure.errors import InvalidInputError
from perdure.temporal.client import register_search_attributes
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import ConnectionInput
from perdure.temporal.watchdog import Watchdog
from perdure.temporal.worker_builds import WorkerBuilds
from tests.api.calls import client_of
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack, namespaced

EACH = """
async def one(nango, n):
    return n * n

async def fetch_data(nango):
    squares = await nango.each(range(2), one)
    await nango.get(endpoint="/issues")
    await nango.batch_save([{"id": str(n), "title": "x"} for n in squares], "Issue")
"""


@pytest.fixture
async def versioned(settings: Settings) -> Settings:
    """Settings of workers that say which build they are, in a namespace of their own."""
    return await namespaced(settings, worker_deployment="perdure", worker_build="1.0.0")


@asynccontextmanager
async def running(settings: Settings, build: str) -> AsyncIterator[Container]:
    """Workers of a build."""
    async with AsyncExitStack() as stack:
        container = await stack.enter_async_context(
            open_container(
                settings.model_copy(update={"worker_build": build}),
                name=f"worker-{build}",
                watchdog=Watchdog(locate_script),
            )
        )
        for worker in workers(container, container.transport):
            await stack.enter_async_context(worker)
        await seen(builds_of(container), build)
        yield container


def builds_of(container: Container) -> WorkerBuilds:
    return WorkerBuilds(container.temporal, "perdure")


async def seen(builds: WorkerBuilds, name: str) -> None:
    async with asyncio.timeout(30):
        while name not in {build.name for build in await builds.list()}:
            await asyncio.sleep(0.1)


async def carried_by(client: Client, workflow_id: str) -> list[str]:
    """The builds that a run was carried on by, one after the other."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    tasks = (event.workflow_task_completed_event_attributes for event in history.events)
    found = (task.deployment_version.build_id for task in tasks if task.scheduled_event_id)
    return [build for build, _ in groupby(found)]


async def carried_action(stack: Stack, handle: WorkflowHandle) -> list[str]:
    await handle.result()
    return await carried_by(stack.container.temporal, handle.id)


async def test_runs_under_way_and_new_ones_move_when_a_build_is_promoted_and_back_again(
    versioned: Settings, source: Source
) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold(page: int) -> None:
        if page == 3:
            held.set()
            go_on.wait(60)

    source.before = hold
    async with running(versioned, "1.0.0") as old:
        await register_search_attributes(old.temporal)
        builds = builds_of(old)
        await builds.promote("1.0.0")
        stack = await Stack.create(old)
        await stack.deploy(project())
        connection = await stack.connect(source.url)
        sync = await stack.start_sync(connection)
        await asyncio.to_thread(held.wait, 30)

        async with running(versioned, "1.1.0"):
            before = await stack.start_action(connection, {"text": "x"})
            assert await carried_action(stack, before) == ["1.0.0"]
            statuses = {build.name: build.status for build in await builds.list()}
            assert statuses == {"1.0.0": "current", "1.1.0": "inactive"}

            await builds.promote("1.1.0")
            after = await stack.start_action(connection, {"text": "x"})
            assert await carried_action(stack, after) == ["1.1.0"]
            go_on.set()
            await sync.result()
            assert await carried_by(old.temporal, sync.id) == ["1.0.0", "1.1.0"]
            assert len(await stack.records(connection)) == 250
            assert source.served == {1: 1, 2: 1, 3: 1}

            await builds.promote("1.0.0")
            again = await stack.start_action(connection, {"text": "x"})
            assert await carried_action(stack, again) == ["1.0.0"]


async def test_scheduled_runs_items_and_retries_are_carried_by_the_current_build(
    versioned: Settings, source: Source
) -> None:
    source.before = lambda _: Response("no", status=403)
    async with running(versioned, "1.0.0") as old:
        await register_search_attributes(old.temporal)
        builds = builds_of(old)
        await builds.promote("1.0.0")
        stack = await Stack.create(old)
        await stack.deploy(project(EACH, auto_start=True))
        connection = await stack.connect(source.url)
        await old.temporal.execute_workflow(
            WorkflowType.CONNECTION_CREATE,
            ConnectionInput(
                environment=stack.environment.name,
                environment_id=stack.environment.id,
                integration="tracker",
                connection_id=connection.connection_id,
                connection_key=connection.key,
            ),
            id=f"connection-create/{stack.environment.name}",
            task_queue=TaskQueue.ACTIONS,
        )
        async with asyncio.timeout(30):
            while not (found := await old.database.runs.list(stack.environment.id)):
                await asyncio.sleep(0.1)
        run = found[0]
        handle = old.temporal.get_workflow_handle(run.workflow_id)
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        assert await carried_by(old.temporal, run.workflow_id) == ["1.0.0"]

        async with running(versioned, "1.1.0"):
            await builds.promote("1.1.0")
            source.before = lambda _: None
            async with client_of(create_app(old), stack.secret_key) as client:
                answer = await client.post(f"/runs/{run.id}/retry", json={}, timeout=60)
            assert answer.status_code == 200, answer.text
            await old.temporal.get_workflow_handle(run.workflow_id).result()
            assert (await carried_by(old.temporal, run.workflow_id))[-1] == "1.1.0"
            assert len(await stack.records(connection)) == 2

            # A run from its beginning, with items of its own.
            await old.schedules.trigger(stack.sync_input(connection))
            ids: set[str] = set()
            async with asyncio.timeout(30):
                while len(ids) < 2:
                    await asyncio.sleep(0.1)
                    listed = await old.database.runs.list(stack.environment.id)
                    ids = {run.workflow_id for run in listed if run.kind == WorkflowType.SYNC}
            [later] = ids - {run.workflow_id}
            await old.temporal.get_workflow_handle(later).result()
            assert await carried_by(old.temporal, later) == ["1.1.0"]
            history = await old.temporal.get_workflow_handle(later).fetch_history()
            children = [
                event.child_workflow_execution_started_event_attributes.workflow_execution
                for event in history.events
                if event.HasField("child_workflow_execution_started_event_attributes")
            ]
            assert children
            for child in children:
                assert await carried_by(old.temporal, child.workflow_id) == ["1.1.0"]


@pytest.mark.slow
async def test_build_gets_its_share_and_gives_it_back(versioned: Settings) -> None:
    async with running(versioned, "1.0.0") as old, running(versioned, "1.1.0"):
        builds = builds_of(old)
        await builds.promote("1.0.0")

        await builds.ramp("1.1.0", 25)
        shares = {build.name: (build.status, build.percent) for build in await builds.list()}
        assert shares == {"1.0.0": ("current", 75), "1.1.0": ("ramping", 25)}

        await builds.ramp("1.1.0", 0)
        shares = {build.name: (build.status, build.percent) for build in await builds.list()}
        assert shares == {"1.0.0": ("current", 100), "1.1.0": ("draining", 0)}

        with pytest.raises(InvalidInputError, match=r"2\.0\.0"):
            await builds.promote("2.0.0")


@dataclass
class Shell:
    """The command as operators run it, with the variables of a worker."""

    settings: Settings

    def _environment(self, build: str) -> dict[str, str]:
        keys = self.settings.encryption_keys
        assert keys is not None
        return {
            **{name: value for name, value in os.environ.items() if "PERDURE" not in name},
            "PERDURE_DATABASE_URL": self.settings.database_url.get_secret_value(),
            "PERDURE_ENCRYPTION_KEYS": keys.get_secret_value(),
            "PERDURE_WORKER_DEPLOYMENT": "perdure",
            "PERDURE_WORKER_BUILD": build,
            "TEMPORAL_ADDRESS": self.settings.temporal_address,
            "TEMPORAL_NAMESPACE": self.settings.temporal_namespace,
        }

    async def run(self, *words: str, build: str = "1.0.0") -> str:
        process = await self._start(*words, build=build)
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    @asynccontextmanager
    async def worker(self, build: str, until: str) -> AsyncIterator[None]:
        """Run a worker that promotes itself, once its log has a word."""
        process = await self._start("worker", "--promote", build=build)
        try:
            assert process.stdout is not None
            async with asyncio.timeout(60):
                while until not in (line := (await process.stdout.readline()).decode()):
                    assert line, "it ended"
            yield
        finally:
            process.terminate()
            await process.communicate()

    async def statuses(self) -> dict[str, str]:
        answer = json.loads(await self.run("workers", "list", "--json"))
        return {item["build"]: item["status"] for item in answer["data"]}

    async def _start(self, *words: str, build: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "perdure", *words),
            env=self._environment(build),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )


@pytest.mark.slow
async def test_new_build_promotes_itself_once_and_not_after_it_was_taken_back(
    versioned: Settings,
) -> None:
    shell = Shell(versioned)
    async with shell.worker("1.0.0", until="worker_build_promoted"):
        async with shell.worker("1.1.0", until="worker_build_promoted"):
            assert await shell.statuses() == {"1.1.0": "current", "1.0.0": "draining"}
        out = await shell.run("workers", "promote", "1.0.0")
        assert "1.0.0 is given all work." in out
        async with shell.worker("1.1.0", until="worker_build_waits"):
            assert (await shell.statuses())["1.0.0"] == "current"
            table = await shell.run("workers", "list")
            assert "100 %" in table
