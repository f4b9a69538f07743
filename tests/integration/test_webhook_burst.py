"""Many webhooks at once: all of them are taken, and handled in the order of their connection."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.dev import DevServer, dev_server

CONNECTIONS = 10
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
            "credentials": {"webhook_secret": "hush"},
            "webhook_rules": {
                "connections": {"match": [{"field": "connection_id", "value": "${body.to}"}]}
            },
        }
        await server.call("PATCH", "/integrations/tracker", json=change)
        yield server


async def burst(dev: DevServer, count: int) -> float:
    """Send so many webhooks, those of a connection one after the other; returns the seconds."""

    async def send_all(client: httpx.AsyncClient, to: str) -> None:
        for number in range(count // CONNECTIONS):
            body = json.dumps({"to": to, "number": number}).encode()
            signature = hmac.digest(b"hush", body, "sha256").hex()
            answer = await client.post(
                "/webhook/dev/tracker",
                content=body,
                headers={
                    "content-type": "application/json",
                    "x-hub-signature-256": f"sha256={signature}",
                    "x-webhook-id": f"{count}-{to}-{number}",
                },
            )
            assert answer.status_code == 200, answer.text

    began = time.perf_counter()
    async with httpx.AsyncClient(base_url=dev.info["api_url"], timeout=60) as client:
        await asyncio.gather(*(send_all(client, f"c{n}") for n in range(CONNECTIONS)))
    return time.perf_counter() - began


async def assert_all_handled(dev: DevServer, count: int, seconds: float) -> None:
    began = time.perf_counter()
    async with asyncio.timeout(seconds):
        while (await dev.call("GET", "/webhooks/events?status=pending&limit=1"))["events"]:
            await asyncio.sleep(0.5)
    print(f"{count} webhooks worked off {time.perf_counter() - began:.1f} s after the last answer")
    failed = (await dev.call("GET", "/webhooks/events?status=failed&limit=1000"))["events"]
    assert len(failed) == CONNECTIONS
    for number in range(CONNECTIONS):
        # The stream of changes tells in which order they were saved.
        saved = [int(record["id"]) for record in await dev.records(f"c{number}")]
        assert saved == [n for n in range(count // CONNECTIONS) if n != POISONED]


@pytest.mark.parametrize("count", [500, pytest.param(5_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
async def test_burst_is_taken_whole_and_handled_in_order(dev: DevServer, count: int) -> None:
    seconds = await burst(dev, count)
    print(f"{count} webhooks taken in {seconds:.2f} s: {count / seconds:.0f}/s")
    await assert_all_handled(dev, count, 850)
