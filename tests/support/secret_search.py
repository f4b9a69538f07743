"""Searches all that a run of the tests left behind for secrets in clear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg
from ahocorasick_rs import BytesAhoCorasick
from temporalio.api.workflowservice.v1 import (
    GetWorkflowExecutionHistoryRequest,
    ListNamespacesRequest,
)
from temporalio.client import Client, ScheduleListDescription, WorkflowExecution
from temporalio.service import RPCError, RPCStatusCode

from perdure.db.blobs import unpacked
from tests.support.secret_texts import SecretTexts, spellings

__all__ = ["Found", "SecretSearch", "assert_none"]

_Item = TypeVar("_Item")

_AROUND = 60
_AT_ONCE = 16

_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate"

_COLUMNS = """
SELECT n.nspname || '.' || c.relname || '.' || a.attname AS place,
       format('SELECT %I FROM %I.%I', a.attname, n.nspname, c.relname) AS statement
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND n.nspname NOT LIKE 'pg_toast%'
"""

# Compressed.
_BLOBS = "public.payload_blobs.data"


@dataclass(frozen=True)
class Found:
    """A secret in clear.

    Attributes:
        place: Column, workflow or source of a log.
        text: The secret.
        origin: Where the secret is from.
        around: What stands before and after it.
    """

    place: str
    text: str
    origin: str
    around: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text!r} ({self.origin}): {self.around}"


class SecretSearch:
    """Looks for every spelling of all secrets at once."""

    def __init__(self, secrets: SecretTexts) -> None:
        self._secrets = secrets
        self._texts: list[str] = []
        patterns: list[bytes] = []
        for text in secrets:
            for spelling in spellings(text):
                self._texts.append(text)
                patterns.append(spelling)
        self._longest = max(map(len, patterns), default=1)
        self._search = BytesAhoCorasick(patterns)

    def in_bytes(self, content: bytes | bytearray, place: str) -> set[Found]:
        """Return the secrets in a content, but those that may stand in the place."""
        found = set()
        column = place.rpartition(": ")[2].removeprefix("public.")
        matches = [
            (self._texts[index], start, end)
            for index, start, end in self._search.find_matches_as_indexes(content, overlapping=True)
        ]
        # A mark is the beginning of what was shown.
        shown = {start for text, start, _ in matches if self._secrets.may_stand(text, column)}
        for text, start, end in matches:
            if start not in shown:
                around = bytes(content[max(0, start - _AROUND) : end + _AROUND])
                origin = self._secrets.origin(text)
                found.add(Found(place, text, origin, repr(around.decode("utf-8", "replace"))))
        return found

    async def in_database(self, url: str) -> set[Found]:
        """Return what is found in any column of any table of all databases of the server."""
        found: set[Found] = set()
        server = await asyncpg.connect(url)
        try:
            databases = [row["datname"] for row in await server.fetch(_DATABASES)]
        finally:
            await server.close()
        for database in databases:
            connection = await asyncpg.connect(url, database=database)
            try:
                for row in await connection.fetch(_COLUMNS):
                    place = f"{database}: {row['place']}"
                    if row["place"] == _BLOBS:
                        found |= await self._in_blobs(connection, place)
                    else:
                        found |= await self._in_column(connection, row["statement"], place)
            finally:
                await connection.close()
        return found

    async def _in_column(
        self, connection: asyncpg.Connection, statement: str, place: str
    ) -> set[Found]:
        found: set[Found] = set()
        content = bytearray()

        async def take(chunk: bytes) -> None:
            nonlocal found
            content.extend(chunk)
            if len(content) > 4_000_000:
                found |= self.in_bytes(content, place)
                del content[: -self._longest]

        # In the binary format texts and bytes are as they are.
        await connection.copy_from_query(statement, output=take, format="binary")
        return found | self.in_bytes(content, place)

    async def _in_blobs(self, connection: asyncpg.Connection, place: str) -> set[Found]:
        found: set[Found] = set()
        async with connection.transaction():
            async for row in connection.cursor("SELECT data FROM payload_blobs", prefetch=5):
                found |= self.in_bytes(unpacked(row["data"]), place)
        return found

    async def in_temporal(self, address: str) -> set[Found]:
        """Return what is found in the histories and schedules of all namespaces."""
        found: set[Found] = set()
        client = await Client.connect(address)
        async for namespace in _namespaces(client):
            of_namespace = await Client.connect(address, namespace=namespace)
            for part in (self._in_histories, self._in_schedules):
                found |= await part(of_namespace)
        return found

    async def _in_histories(self, client: Client) -> set[Found]:
        async def search(execution: WorkflowExecution) -> set[Found]:
            place = f"{client.namespace}: workflow {execution.id}, run {execution.run_id}"
            found = self.in_bytes(execution.raw_info.SerializeToString(), place)
            request = GetWorkflowExecutionHistoryRequest(namespace=client.namespace)
            request.execution.workflow_id = execution.id
            request.execution.run_id = execution.run_id
            while True:
                try:
                    page = await client.workflow_service.get_workflow_execution_history(request)
                except RPCError as error:
                    _let_pass_if_gone(error)
                    return found
                if self.in_bytes(page.history.SerializeToString(), place):
                    for event in page.history.events:
                        found |= self.in_bytes(
                            event.SerializeToString(), f"{place}, event {event.event_id}"
                        )
                if not page.next_page_token:
                    return found
                request.next_page_token = page.next_page_token

        return await _bounded(client.list_workflows(), search)

    async def _in_schedules(self, client: Client) -> set[Found]:
        async def search(schedule: ScheduleListDescription) -> set[Found]:
            try:
                described = await client.get_schedule_handle(schedule.id).describe()
            except RPCError as error:
                _let_pass_if_gone(error)
                return set()
            return self.in_bytes(
                described.raw_description.SerializeToString(),
                f"{client.namespace}: schedule {schedule.id}",
            )

        return await _bounded(await client.list_schedules(), search)

    def in_lines(self, path: Path) -> set[Found]:
        """Return what is found in a log, by its logger where the line has one, else by its file."""
        found: set[Found] = set()
        with path.open("rb") as file:
            for line in file:
                if self.in_bytes(line, ""):
                    found |= self.in_bytes(line, f"log {path}, {_source(line)}")
        return found


def _source(line: bytes) -> str:
    """Return who wrote a line of a log: a logger, or the test before the tab."""
    text = line.decode("utf-8", "replace")
    with suppress(ValueError):
        return f"logger {json.loads(text)['logger']}"
    return text.partition("\t")[0][:200].strip()


def _let_pass_if_gone(error: RPCError) -> None:
    """Let pass that something listed was deleted; its listing lags behind."""
    if error.status is not RPCStatusCode.NOT_FOUND:
        raise error


async def _namespaces(client: Client) -> AsyncIterator[str]:
    request = ListNamespacesRequest(page_size=100)
    while True:
        page = await client.workflow_service.list_namespaces(request)
        for namespace in page.namespaces:
            yield namespace.namespace_info.name
        if not page.next_page_token:
            return
        request.next_page_token = page.next_page_token


async def _bounded(
    items: AsyncIterator[_Item], search: Callable[[_Item], Awaitable[set[Found]]]
) -> set[Found]:
    """Search items, a few at the same time."""
    found: set[Found] = set()

    queue: asyncio.Queue[_Item | None] = asyncio.Queue(_AT_ONCE)

    async def consume() -> None:
        while (item := await queue.get()) is not None:
            found.update(await search(item))

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(consume())
        async for item in items:
            await queue.put(item)
        for _ in range(_AT_ONCE):
            await queue.put(None)
    return found


def assert_none(found: set[Found]) -> None:
    """Fail, and say what was found where, each secret once a place.

    Raises:
        AssertionError: Something was found.
    """
    one_each = {(one.place.partition(", run ")[0], one.text): one for one in found}
    lines = sorted(map(str, one_each.values()))
    assert not found, "\n".join([f"{len(found)} secrets stand in clear:", *lines[:50]])
