"""Heartbeats: what ends soon costs none, what lasts goes on telling that it is alive."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio.testing import ActivityEnvironment

from perdure.temporal import policies
from perdure.temporal.heartbeat import heartbeating


def environment(beaten: asyncio.Event) -> ActivityEnvironment:
    made = ActivityEnvironment()
    made.info = replace(made.info, heartbeat_timeout=timedelta(milliseconds=40))
    made.on_heartbeat = lambda *_: beaten.set()
    return made


async def test_a_step_that_ends_at_once_sends_no_heartbeat() -> None:
    beaten = asyncio.Event()

    async def step() -> None:
        async with heartbeating():
            await asyncio.sleep(0)

    await environment(beaten).run(step)

    assert not beaten.is_set()


async def test_a_step_that_lasts_sends_heartbeats() -> None:
    beaten = asyncio.Event()

    async def step() -> None:
        async with heartbeating(), asyncio.timeout(10):
            for _ in range(3):
                await beaten.wait()
                beaten.clear()

    await environment(beaten).run(step)


def test_every_step_that_can_be_repeated_at_once_is_missed_after_five_seconds() -> None:
    repeatable = (policies.BOOKKEEPING, policies.STARTING, policies.RECORDS)

    assert {policy["heartbeat_timeout"] for policy in repeatable} == {timedelta(seconds=5)}
