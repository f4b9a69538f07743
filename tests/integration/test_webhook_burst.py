"""Many webhooks at once: all of them are taken, and handled in the order of their connection."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.support.dev import DevServer, dev_server

CONNECTIONS = 25
POISONED = 7

PROJECT = {
    "nango.yaml": """
integrations:
  tracker:
    syncs:
      issues:
        runs: every day
        output: Issue
        endpoint: GET /issues
        auto_start: false
        webhook-subscriptions: '*'
models:
  Issue:
    id: string
    title: string
""",
    "tracker/syncs/issues.py": f"""
async def fetch_data(nango):
    pass

async def on_webhook_payload_received(nango, payload):
    if payload["number"] == {POISONED}:
        raise ValueError("poisoned")
    await nango.batch_save([{{"id": str(payload["number"]), "title": payload["to"]}}], "Issue")
""",
}


@pytest.fixture
async def dev(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    async with dev_server(tmp_path_factory.mktemp("dev")) as server:
        await server.deploy(PROJECT)
        for number in range(CONNECTIONS):
            await server.connect("http://127.0.0.1:9", f"c{number}")
        change = {
            "credentials": {"webhook_secret": "hush-hush"},
            "webhook_rules": {
                "connections": {"match": [{"field": "connection_id", "value": "${body.to}"}]}
            },
        }
        await server.call("PATCH", "/integrations/tracker", json=change)
        yield server


@dataclass
class Sender:
    """One connection to the API. It costs next to nothing, so that it is not what is measured."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, to: str, number: int, delivery: str) -> None:
        """Send a webhook and wait for its answer."""
        body = b'{"to":"%s","number":%d}' % (to.encode(), number)
        self.writer.write(
            b"POST /webhook/dev/tracker HTTP/1.1\r\nhost: localhost\r\n"
            b"content-type: application/json\r\ncontent-length: %d\r\n"
            b"x-hub-signature-256: sha256=%s\r\nx-webhook-id: %s\r\n\r\n%s"
            % (
                len(body),
                hmac.digest(b"hush-hush", body, "sha256").hex().encode(),
                delivery.encode(),
                body,
            )
        )
        answer = await self.reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b"content-length: 0\r\n" in answer, answer


async def burst(dev: DevServer, count: int) -> None:
    """Send so many webhooks, those of a connection one after the other."""
    api = urlsplit(dev.info["api_url"])

    async def send_all(to: str) -> None:
        sender = Sender(*await asyncio.open_connection(api.hostname, api.port))
        for number in range(count // CONNECTIONS):
            await sender.send(to, number, f"{count}-{to}-{number}")
        sender.writer.close()

    began, own = time.perf_counter(), time.process_time()
    await asyncio.gather(*(send_all(f"c{n}") for n in range(CONNECTIONS)))
    seconds, own = time.perf_counter() - began, time.process_time() - own
    print(
        f"{count} webhooks taken in {seconds:.2f} s: {count / seconds:.0f}/s; sending them took "
        f"{own:.2f} s of processor time"
    )


async def assert_all_handled(dev: DevServer, count: int, seconds: float) -> None:
    began = time.perf_counter()
    async with asyncio.timeout(seconds):
        while (await dev.call("GET", "/webhooks/events?status=pending&limit=1"))["events"]:
            await asyncio.sleep(0.5)
    seconds = time.perf_counter() - began
    print(f"{count} webhooks worked off {seconds:.1f} s after the last answer")
    failed = (await dev.call("GET", "/webhooks/events?status=failed&limit=1000"))["events"]
    assert len(failed) == CONNECTIONS
    for number in range(CONNECTIONS):
        # The stream of changes tells in which order they were saved.
        saved = [int(record["id"]) for record in await dev.records(f"c{number}")]
        assert saved == [n for n in range(count // CONNECTIONS) if n != POISONED]


@pytest.mark.parametrize("count", [500, pytest.param(5_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
async def test_burst_is_taken_whole_and_handled_in_order(dev: DevServer, count: int) -> None:
    await burst(dev, count)
    await assert_all_handled(dev, count, 850)
