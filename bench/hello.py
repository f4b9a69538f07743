"""Bare Temporal: a hello-world workflow with one activity, and a worker for it in one process."""

from __future__ import annotations

import argparse
import asyncio
from datetime import timedelta

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

__all__ = ["TASK_QUEUE", "Hello"]

TASK_QUEUE = "bench-hello"


@activity.defn(name="bench-say-hello")
async def say_hello(name: str) -> str:
    return f"Hello, {name}"


@workflow.defn(name="bench-hello")
class Hello:
    """Says hello."""

    @workflow.run
    async def run(self, name: str) -> str:
        limit = timedelta(seconds=60)
        return await workflow.execute_activity(say_hello, name, start_to_close_timeout=limit)


async def _work(address: str, namespace: str) -> None:
    client = await Client.connect(address, namespace=namespace)
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[Hello], activities=[say_hello]):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--namespace", required=True)
    told = parser.parse_args()
    uvloop.run(_work(told.address, told.namespace))
