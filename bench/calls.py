"""Calls actions through the API and starts bare workflows, in turns; nobody else measures them."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
import uuid
from collections.abc import Awaitable, Callable

import httpx
import uvloop
from temporalio.client import Client

from bench.hello import TASK_QUEUE, Hello

__all__: list[str] = []

_WARM_UP = 5
_AT_ONCE = 50

Call = Callable[[], Awaitable[None]]


async def _milliseconds(call: Call) -> float:
    began = time.perf_counter()
    await call()
    return (time.perf_counter() - began) * 1000


async def _together(call: Call) -> dict[str, float]:
    """Make many calls at once; return how many were answered a second, and how long each took."""
    began = time.perf_counter()
    took = sorted(await asyncio.gather(*(_milliseconds(call) for _ in range(_AT_ONCE))))
    seconds = time.perf_counter() - began
    return {"per_s": _AT_ONCE / seconds, "p50_ms": took[len(took) // 2], "max_ms": took[-1]}


async def _measure(
    action: Call, bare: Call, calls: int, rounds: int
) -> dict[str, dict[str, list[float]] | dict[str, list[dict[str, float]]]]:
    for _ in range(_WARM_UP):
        await action()
        await bare()
    one = {"action": [], "bare": []}  # type: dict[str, list[float]]
    many = {"action": [], "bare": []}  # type: dict[str, list[dict[str, float]]]
    for turn in range(calls):
        order = (("action", action), ("bare", bare))
        for name, call in order if turn % 2 else reversed(order):
            one[name].append(await _milliseconds(call))
    for turn in range(rounds):
        order = (("action", action), ("bare", bare))
        for name, call in order if turn % 2 else reversed(order):
            many[name].append(await _together(call))
    return {"one_by_one_ms": one, "at_once": many}


async def _main(api_url: str, address: str, namespace: str, calls: int, rounds: int) -> None:
    client = await Client.connect(address, namespace=namespace)
    headers = {
        "Authorization": f"Bearer {os.environ['BENCH_SECRET_KEY']}",
        "Connection-Id": "calls",
        "Provider-Config-Key": "github",
    }
    limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
    async with httpx.AsyncClient(
        base_url=api_url, headers=headers, timeout=120, limits=limits
    ) as http:

        async def action() -> None:
            body = {"action_name": "greet", "input": {"name": "Ada"}}
            answer = await http.post("/action/trigger", json=body)
            answer.raise_for_status()
            assert answer.json() == {"greeting": "Hello, Ada"}, answer.text

        async def bare() -> None:
            workflow_id = f"bench-hello/{uuid.uuid4()}"
            said = await client.execute_workflow(
                Hello.run, "Ada", id=workflow_id, task_queue=TASK_QUEUE
            )
            assert said == "Hello, Ada"

        print(json.dumps(await _measure(action, bare, calls, rounds)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    told = parser.parse_args()
    work = _main(told.api_url, told.address, told.namespace, told.calls, told.rounds)
    uvloop.run(work)
