"""A project and an environment to deploy it to, in a few words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from temporalio.client import ScheduleIntervalSpec, WorkflowHandle

from activities.sync_schedules import schedule_id
from perdure.db.connections import Connection
from perdure.db.records import RecordSet
from perdure.db.runs import Run, RunStatus
from perdure.records.prepare import prepare_batch
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import ConnectionInput, DeployResult
from tests.support.stack import Stack

SAVING = """
async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": "%s"}, {"id": "2", "title": "%s"}], "%s")
"""
SLEEPING = """
import asyncio

async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": "saved"}], "Issue")
    await asyncio.sleep(%s)
    await nango.batch_save([{"id": "2", "title": "old"}], "Issue")
"""
STUBBORN = """
import asyncio

async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": "saved"}], "Issue")
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass
"""
ACTION = "async def run_action(nango, input):\n    return input\n"


def files(*syncs: str, key: str = "tracker", **scripts: str) -> dict[str, str]:
    """A project with one integration.

    Args:
        syncs: Each `name: output, ...` of a sync, as in `issues: Issue, runs every 1h`.
        key: Key of the integration.
        scripts: Sources by name of the sync.
    """
    lines = ["integrations:", f"  {key}:", "    syncs:"] if syncs else ["integrations:"]
    found = {}
    models = set()
    for sync in syncs:
        name, _, rest = sync.partition(": ")
        output, *settings = rest.split(", ")
        outputs = output.split("+")
        models.update(outputs)
        endpoints = ", ".join(f"GET /{model}" for model in outputs)
        settings = [f"{key}: {value}" for key, _, value in (s.partition(" ") for s in settings)]
        if not any(setting.startswith("runs") for setting in settings):
            settings.append("runs: every day")
        lines.append(
            f"      {name}: {{output: [{', '.join(outputs)}], endpoint: [{endpoints}], "
            f"{', '.join(settings)}}}"
        )
        default = SAVING % ("a", "b", outputs[0])
        found[f"{key}/syncs/{name}.py"] = scripts.get(name, default)
    if not syncs:
        lines.append(f"  {key}:")
    lines += ["    actions:", "      echo: {endpoint: POST /echo}", "models:"]
    lines += [f"  {model}: {{id: string, title: string}}" for model in sorted(models) or ["None_"]]
    return {"nango.yaml": "\n".join(lines), f"{key}/actions/echo.py": ACTION, **found}


@dataclass
class Deploys:
    """An environment, and a client of the API with its key."""

    stack: Stack
    client: httpx.AsyncClient

    async def deploy(
        self, project: dict[str, str], *, expect: int = 200, **terms: Any
    ) -> dict[str, Any]:
        body = {"files": project, "allow_destructive": True, **terms}
        answer = await self.client.post("/deployments", json=body)
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def connect(self, name: str = "acme", integration: str = "tracker") -> Connection:
        database, environment = self.stack.container.database, self.stack.environment
        known = {i.unique_key for i in await database.integrations.list(environment.id)}
        if integration not in known:
            await database.integrations.create(environment.id, integration, "generic-api-key")
        connection, _ = await database.connections.save(
            environment.id, integration, name, {"type": "API_KEY", "apiKey": "k"}
        )
        return connection

    async def save(self, connection: Connection, model: str, count: int = 2) -> None:
        records = [{"id": str(number), "title": "saved"} for number in range(count)]
        store = self.stack.container.database.records
        await store.save(RecordSet(connection.key, model), prepare_batch(records))

    async def save_many(self, model: str, count: int) -> None:
        """Give every connection records."""
        await self.stack.container.database.pool.execute(
            "INSERT INTO records (connection_key, model, variant, external_id, payload,"
            " payload_hash, first_seen_at, last_modified_at, change_seq)"
            " SELECT id, $2, 'base', n::text, '{}', decode(repeat('00', 16), 'hex'),"
            " now(), now(), nextval('record_changes')"
            "  FROM connections, generate_series(1, $3) n WHERE environment_id = $1",
            self.stack.environment.id,
            model,
            count,
        )

    async def count_records(self) -> int:
        """Number of records of all connections."""
        return await self.stack.container.database.pool.fetchval(
            "SELECT count(*) FROM records r JOIN connections c ON c.id = r.connection_key"
            " WHERE c.environment_id = $1",
            self.stack.environment.id,
        )

    def deploy_handle(self, run_id: str | None = None) -> WorkflowHandle[Any, DeployResult]:
        """The deploy of the environment: one run of it, or the latest."""
        return self.stack.container.temporal.get_workflow_handle(
            f"deploy/{self.stack.environment.name}", run_id=run_id, result_type=DeployResult
        )

    async def held(self, *connections: Connection) -> set[tuple[str, str]]:
        """Connection and model of all records."""
        names = {connection.key: connection.connection_id for connection in connections}
        sets = await self.stack.container.database.record_sets.list(list(names))
        return {(names[found.connection_key], found.model) for found in sets}

    async def interval(self, connection: Connection, sync: str = "issues", **at: str) -> timedelta:
        sync_input = self.stack.sync_input(connection, sync).model_copy(update=at)
        handle = self.stack.container.temporal.get_schedule_handle(schedule_id(sync_input))
        (interval,) = (await handle.describe()).schedule.spec.intervals
        assert isinstance(interval, ScheduleIntervalSpec)
        return interval.every

    async def has_schedule(self, connection: Connection, sync: str = "issues") -> bool:
        sync_input = self.stack.sync_input(connection, sync)
        return await self.stack.container.schedules.status(sync_input) is not None

    async def runs(self, **conditions: Any) -> list[Run]:
        database = self.stack.container.database
        return list(await database.runs.list(self.stack.environment.id, **conditions))

    async def ended(self, count: int, **conditions: Any) -> list[Run]:
        async def all_ended() -> bool:
            found = await self.runs(**conditions)
            return len(found) == count and all(r.status is not RunStatus.RUNNING for r in found)

        await eventually(all_ended)
        return await self.runs(**conditions)

    async def connect_many(self, count: int) -> None:
        """Make connections, each with nothing that could be used."""
        await self.connect("c1")
        await self.stack.container.database.pool.execute(
            "INSERT INTO connections (environment_id, integration_id, connection_id, credentials)"
            " SELECT $1, i.id, 'c' || n, 'x' FROM integrations i, generate_series(2, $2) n"
            "  WHERE i.environment_id = $1",
            self.stack.environment.id,
            count,
        )

    async def activate(self, project: dict[str, str]) -> str:
        """Make a project the active one, as the first steps of a deploy do, and no more."""
        return await self.stack.deploy(project)

    async def follow_new_connection(self, connection: Connection) -> None:
        """Run the workflow that follows when a connection was made."""
        await self.stack.container.temporal.execute_workflow(
            WorkflowType.CONNECTION_CREATE,
            ConnectionInput(
                environment=self.stack.environment.name,
                environment_id=self.stack.environment.id,
                integration=connection.integration,
                connection_id=connection.connection_id,
                connection_key=connection.key,
            ),
            id=f"connection-create/{self.stack.environment.name}/{connection.connection_id}",
            task_queue=TaskQueue.ACTIONS,
        )

    async def syncs_of(self, connection: Connection) -> set[str]:
        """Names of the syncs that the database knows."""
        rows = await self.stack.container.database.syncs.of_connections([connection.key])
        return {row.name for row in rows}

    async def saved(self, connection: Connection, model: str = "Issue") -> None:
        async def some() -> bool:
            return bool(await self.stack.records(connection, model))

        await eventually(some)


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


def before_first(
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    happens: Callable[[], Awaitable[object]],
) -> None:
    """Have something happen right before the first call of a method goes through."""
    original = getattr(owner, name)
    pending = [happens]

    async def late(*args: Any, **options: Any) -> Any:
        if pending:
            await pending.pop()()
        return await original(*args, **options)

    monkeypatch.setattr(owner, name, late)
