"""Everything is killed right after a provider was answered; its webhook is handled once."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.dev import dev_server

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
    "tracker/syncs/issues.py": """
async def fetch_data(nango):
    pass

async def on_webhook_payload_received(nango, payload):
    await nango.batch_save([{"id": str(payload["id"]), "title": "a"}], "Issue")
""",
}


async def send(client: httpx.AsyncClient, number: int) -> None:
    body = json.dumps({"id": number}).encode()
    signature = hmac.digest(b"hush-hush", body, "sha256").hex()
    answer = await client.post(
        "/webhook/dev/tracker",
        content=body,
        headers={
            "content-type": "application/json",
            "x-hub-signature-256": f"sha256={signature}",
            "x-webhook-id": f"delivery-{number}",
        },
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.timeout(240)
async def test_webhook_that_was_answered_outlives_the_death_of_everything(tmp_path: Path) -> None:
    async with dev_server(tmp_path) as dev:
        await dev.deploy(PROJECT)
        await dev.connect("http://127.0.0.1:9")
        secret = {"credentials": {"webhook_secret": "hush-hush"}}
        await dev.call("PATCH", "/integrations/tracker", json=secret)
        root = psutil.Process(dev.process.pid)
        tree = [root, *root.children(recursive=True)]
        for number in range(3):
            await send(dev.client, number)
        answered = time.perf_counter()
        for process in tree:
            with suppress(ProcessLookupError):  # one whose parent has just been killed
                os.kill(process.pid, signal.SIGKILL)
        killed_after = time.perf_counter() - answered
        psutil.wait_procs(tree, timeout=10)
    assert killed_after < 1

    async with dev_server(tmp_path) as dev:
        # The provider, which may not have seen the answer, sends the last one again.
        await send(dev.client, 2)
        async with asyncio.timeout(60):
            while True:
                events = (await dev.call("GET", "/webhooks/events"))["events"]
                if all(event["status"] != "pending" for event in events):
                    break
                await asyncio.sleep(0.2)
        runs = (await dev.call("GET", "/runs?kind=webhook"))["runs"]
        records = await dev.records()

    assert [event["status"] for event in events] == ["processed"] * 3
    assert [run["status"] for run in runs] == ["success"] * 3
    assert [run["counts"]["Issue"]["added"] for run in runs] == [1, 1, 1]
    assert {record["id"] for record in records} == {"0", "1", "2"}
