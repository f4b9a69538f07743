"""What must be so afterwards: nothing lost, nothing done twice, nothing that was not told.

Each check reads what the outside has counted, or what the API and the database hold.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import asyncpg

from rehearsal.load import ACCOUNTS, SYNCS, Load
from rehearsal.outside import Outside

__all__ = ["Check", "judge"]

_SETTLE_SECONDS = 90.0
_LOOK_SECONDS = 0.5
_OUTCOMES = ("added", "updated", "deleted")

_OPEN_WORK = """
SELECT (SELECT count(*) FROM webhook_deliveries WHERE status = 'pending')
     + (SELECT count(*) FROM runs WHERE status = 'running')
"""
_WEBHOOK_RUNS = "SELECT count(*) FROM runs WHERE kind = 'webhook' AND status = 'success'"
_FAILED_RUNS = """
SELECT kind || ' ' || script || ': ' || coalesce(error ->> 'type', status) AS why, count(*)
  FROM runs WHERE status NOT IN ('running', 'success') GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must be so.

    Attributes:
        what: In words.
        expected: How many there should be.
        found: How many there are as they should be.
        wrong: What is wrong, empty where all is well.
    """

    what: str
    expected: int
    found: int
    wrong: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it is so."""
        return not self.wrong and self.expected == self.found


async def judge(load: Load, outside: Outside, database_url: str) -> tuple[list[Check], float]:
    """Wait until everything that was begun has ended, then look.

    Returns:
        The checks, and the seconds that were waited for.
    """
    db: asyncpg.Connection[Any] = await asyncpg.connect(database_url)
    try:
        waited = await _until_settled(load, outside, db)
        checks = [
            *[await _records(load, outside, a, s) for a in ACCOUNTS for s in SYNCS],
            *[_counts(load, outside, a, s) for a in ACCOUNTS for s in SYNCS],
            await _actions(load, outside),
            await _events(load),
            await _webhook_runs(load, db),
            _told("webhooks handed on to the application", set(load.told), outside.forwarded),
            _told("ends of asynchronous actions told", set(load.promised), outside.completions),
            _sync_ends(load, outside),
            await _failed_runs(db),
        ]
    finally:
        await db.close()
    return checks, waited


async def _until_settled(load: Load, outside: Outside, db: asyncpg.Connection[Any]) -> float:
    began = time.monotonic()
    while time.monotonic() - began < _SETTLE_SECONDS:
        if (
            not await db.fetchval(_OPEN_WORK)
            # What was accepted and waits for its turn has no run yet.
            and await db.fetchval(_WEBHOOK_RUNS) >= len(load.told)
            and set(load.told) <= set(outside.forwarded)
            and set(load.promised) <= set(outside.completions)
        ):
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return time.monotonic() - began


async def _read(load: Load, account: str, model: str) -> list[dict[str, Any]]:
    headers = {"connection-id": account, "provider-config-key": "depot"}
    params = {"model": model, "limit": "1000"}
    found: list[dict[str, Any]] = []
    while True:
        page = (await load.call("GET", "/records", headers=headers, params=params)).json()
        found += page["records"]
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


async def _records(load: Load, outside: Outside, account: str, sync: str) -> Check:
    source = outside.items(account, sync)
    records = await _read(load, account, SYNCS[sync])
    held = {record["id"]: record["title"] for record in records}
    wrong = [id_ for id_, title in source.items() if held.get(id_) != title]
    twice = len(records) - len(held)
    odd = len(held.keys() - source.keys())
    said = f"{len(wrong)} lost or old, {twice} double, {odd} not of the source"
    return Check(
        f"records of {sync} for {account}",
        len(source),
        len(source) - len(wrong),
        said if wrong or twice or odd else "",
    )


def _counts(load: Load, outside: Outside, account: str, sync: str) -> Check:
    """Each change at the source was counted once, whatever happened to the run that found it."""
    mine = account, sync
    total: Counter[str] = Counter()
    for run in load.runs[mine]:
        counts = run["counts"].get(SYNCS[sync], {})
        total.update({outcome: counts.get(outcome, 0) for outcome in _OUTCOMES})
    added, changed = len(outside.items(*mine)), load.changed[mine]
    found = tuple(total[outcome] for outcome in _OUTCOMES)
    wanted = (added, changed, 0)
    return Check(
        f"changes counted by {sync} for {account}",
        sum(wanted),
        sum(found),
        "" if found == wanted else f"{dict(total)} instead of {wanted}",
    )


async def _actions(load: Load, outside: Outside) -> Check:
    succeeded = await asyncio.gather(*map(load.result, load.promised))
    numbers = dict(zip(load.promised.values(), succeeded, strict=True))
    accepted = load.ordered | set(numbers)
    failed = [number for number, success in numbers.items() if not success]
    lost = [number for number in accepted if not outside.orders[number]]
    twice = [number for number, keys in outside.orders.items() if len(keys) > 1]
    said = f"{len(failed)} failed, {len(lost)} lost, {len(twice)} done twice"
    return Check(
        "actions done once",
        len(accepted),
        len(accepted) - len(failed) - len(lost),
        said if failed or lost or twice else "",
    )


async def _events(load: Load) -> Check:
    held: Counter[str] = Counter()
    for account in ACCOUNTS:
        held.update(record["id"] for record in await _read(load, account, "Event"))
    lost = load.told.keys() - held.keys()
    twice = sum(count > 1 for count in held.values())
    said = f"{len(lost)} lost, {twice} double"
    return Check(
        "webhooks of the provider handled",
        len(load.told),
        len(load.told) - len(lost),
        said if lost or twice else "",
    )


async def _webhook_runs(load: Load, db: asyncpg.Connection[Any]) -> Check:
    return Check("of these, handled once", len(load.told), await db.fetchval(_WEBHOOK_RUNS))


def _told(what: str, expected: set[str], arrived: Counter[str]) -> Check:
    lost = expected - arrived.keys()
    return Check(what, len(expected), len(expected) - len(lost), f"{len(lost)} lost" * bool(lost))


def _sync_ends(load: Load, outside: Outside) -> Check:
    expected = found = 0
    for (account, sync), runs in load.runs.items():
        model = SYNCS[sync]
        changing = sum(
            any(run["counts"].get(model, {}).get(outcome) for outcome in _OUTCOMES) for run in runs
        )
        expected += changing
        found += min(changing, outside.sync_ends[account, model])
    return Check("ends of syncs told", expected, found)


async def _failed_runs(db: asyncpg.Connection[Any]) -> Check:
    rows = await db.fetch(_FAILED_RUNS)
    said = ", ".join(f"{row['why']} ({row['count']})" for row in rows)
    return Check("runs that failed", 0, sum(row["count"] for row in rows), said)
