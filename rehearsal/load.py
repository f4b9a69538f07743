"""The load: an application that calls and reads, and a provider that tells, both without a rest.

Each sender does what a careful one does: what was refused with 503, or not answered, is sent again
under the same key until it is accepted. What was accepted is written down, to be found afterwards.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Coroutine
from typing import Any

import httpx

from rehearsal.balancer import Balancer, BrokenError, NobodyReadyError
from rehearsal.outside import Outside
from rehearsal.tally import Tally

__all__ = ["ACCOUNTS", "ITEMS", "SYNCS", "WEBHOOK_SECRET", "Load"]

ACCOUNTS = ("acme", "bolt", "corvid", "dune")
SYNCS = {"items-save": "Item", "items-loop": "LoopedItem"}
ITEMS = 3_000
WEBHOOK_SECRET = "hush-hush"  # noqa: S105 - of a provider that lives for some minutes
_CHANGED_EVERY = 7
_READ_SECONDS = 0.05
_ACTION_SECONDS = 0.4
_WEBHOOK_SECONDS = 0.2
_RUN_LOOK_SECONDS = 0.5
_AGAIN_SECONDS = 0.3
# Longer than an action waits on a machine that does much else.
_PATIENCE_SECONDS = 300.0
_MOST_UNDER_WAY = 40
_RESULT_SECONDS = 90.0


class Load:
    """Everything that is asked of the cluster.

    Attributes:
        ordered: Numbers whose action was accepted and answered with its receipt.
        promised: Ids of asynchronous actions that were accepted, with their numbers.
        told: Ids of webhooks that were taken, with their accounts.
        runs: Ended runs of each connection's syncs.
        changed: How many items were changed at the source since the first run, by the same.
    """

    def __init__(self, balancer: Balancer, outside: Outside, tally: Tally) -> None:
        self.ordered: set[int] = set()
        self.promised: dict[str, int] = {}
        self.told: dict[str, str] = {}
        self.runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.changed: dict[tuple[str, str], int] = {}
        self._balancer = balancer
        self._outside = outside
        self._tally = tally
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Go on until `stop`, and then until everything that was begun has ended."""
        streams = [self._read(), self._order_on(), self._tell_on()]
        streams += [self._sync_on(account, sync) for account in ACCOUNTS for sync in SYNCS]
        try:
            await asyncio.gather(*map(self._told_of, streams))
            while self._tasks:
                await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()

    def stop(self) -> None:
        """Begin nothing more."""
        self._over.set()

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request until it is answered; the answer is no 5xx, or it is a fault.

        Raises:
            TimeoutError: It was refused, or not answered, for minutes.
        """
        give_up_at = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            try:
                answer = await self._balancer.send(method, path, **options)
            except NobodyReadyError:
                self._tally.now.refused["nobody ready"] += 1
            except BrokenError as error:
                self._tally.now.broken[str(error)] += 1
            else:
                if answer.status_code != 503:
                    self._tally.answered()
                    if answer.status_code >= 500:
                        said = f"{path}: {answer.status_code} {answer.text[:200]}"
                        self._tally.now.faults.append(said)
                    return answer
                self._tally.now.refused[_code(answer)] += 1
            await asyncio.sleep(_AGAIN_SECONDS)
        raise TimeoutError(f"{method} {path}: nothing but 503 for {_PATIENCE_SECONDS:.0f} s")

    async def _read(self) -> None:
        headers = {"connection-id": "acme", "provider-config-key": "depot"}
        params = {"model": "Item", "limit": "1"}
        while not self._over.is_set():
            answer = await self.call("GET", "/records", headers=headers, params=params)
            self._expect(answer, 200)
            await asyncio.sleep(_READ_SECONDS)

    async def _order_on(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            await self._until_few()
            self._start(self._order(number))
            await asyncio.sleep(_ACTION_SECONDS)

    async def _order(self, number: int) -> None:
        headers = {
            "connection-id": ACCOUNTS[number % len(ACCOUNTS)],
            "provider-config-key": "depot",
            "idempotency-key": f"order-{number}",
        }
        is_awaited = number % 2 == 0
        if not is_awaited:
            headers["x-async"] = "true"
        body = {"action_name": "order", "input": {"number": number}}
        answer = await self.call("POST", "/action/trigger", json=body, headers=headers)
        if is_awaited:
            if answer.status_code == 200:
                self.ordered.add(number)
            self._expect(answer, 200)
        else:
            self._expect(answer, 202)
            self.promised[answer.json()["id"]] = number

    async def _tell_on(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            await self._until_few()
            self._start(self._tell(number))
            await asyncio.sleep(_WEBHOOK_SECONDS)

    async def _tell(self, number: int) -> None:
        id_, account = f"event-{number}", ACCOUNTS[number % len(ACCOUNTS)]
        told = {"id": id_, "title": f"Event {number}", "account": account, "type": "told"}
        body = json.dumps(told).encode()
        signature = hmac.digest(WEBHOOK_SECRET.encode(), body, "sha256").hex()
        headers = {
            "content-type": "application/json",
            "x-hub-signature-256": f"sha256={signature}",
            "x-webhook-id": id_,
        }
        answer = await self.call("POST", "/webhook/dev/depot", content=body, headers=headers)
        self._expect(answer, 200)
        self.told[id_] = account

    async def _sync_on(self, account: str, sync: str) -> None:
        mine = account, sync
        self.runs[mine], self.changed[mine] = [], 0
        while not self._over.is_set():
            if self.runs[mine]:
                self.changed[mine] += self._outside.change(account, sync, _CHANGED_EVERY)
            known = {run["id"] for run in await self._runs(account, sync)}
            body = {"syncs": [sync], "provider_config_key": "depot", "connection_id": account}
            self._expect(await self.call("POST", "/sync/trigger", json=body), 200)
            while True:
                await asyncio.sleep(_RUN_LOOK_SECONDS)
                found = await self._runs(account, sync)
                new = [run for run in found if run["id"] not in known]
                if new and all(run["status"] != "running" for run in new):
                    break
            self.runs[mine] = found

    async def _runs(self, account: str, sync: str) -> list[dict[str, Any]]:
        params = {"kind": "sync", "connection_id": account, "limit": "1000"}
        answer = await self.call("GET", "/runs", params=params)
        self._expect(answer, 200)
        return [run for run in answer.json()["runs"] if run["script"] == sync]

    async def result(self, action_id: str) -> bool:
        """Wait for the result of an asynchronous action; returns whether it succeeded in time."""
        give_up_at = time.monotonic() + _RESULT_SECONDS
        while time.monotonic() < give_up_at:
            answer = await self.call("GET", f"/action/{action_id}")
            if answer.status_code != 404:
                return answer.status_code == 200
            await asyncio.sleep(_RUN_LOOK_SECONDS)
        return False

    async def _until_few(self) -> None:
        """Wait as long as more is under way than a careful sender has: a machine may be slow."""
        while len(self._tasks) >= _MOST_UNDER_WAY:
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _told_of(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except TimeoutError as error:
            self._tally.now.faults.append(str(error))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._told_of(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _expect(self, answer: httpx.Response, status: int) -> None:
        if answer.status_code != status and answer.status_code < 500:
            said = f"{answer.request.url.path}: {answer.status_code} {answer.text[:200]}"
            self._tally.now.faults.append(said)


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "503 without a code"
