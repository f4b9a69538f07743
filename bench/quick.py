"""The short benchmark: less than a minute, and one line at its end."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.comparison import BARE, LOOP, SAVE, Comparison, measure_calls
from bench.engine import running_engine
from bench.measurements import Group, median_of, quick_line, ratio_to
from bench.programs import running

__all__ = ["quick"]

_ROUNDS = 3
_CALLS = 40
_WARM_UP = 1_000
_PAGE = 100
_LEAST, _MOST = 2_000, 20_000
_RUN_STARTS_S = 0.3
"""What starting a run takes, whatever it reads."""
_ROUNDS_END_S = 40.0
"""Seconds after the start by which the rounds are to be over; then come actions and the end."""


async def quick(began: float) -> None:
    """Measure, and print the line that `docs/performance.md` explains.

    How many records are read depends on how fast the first ones were: the time is what is given.

    Args:
        began: When the program was started, on the monotonic clock.
    """
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        async with running_engine(Path(folder)) as engine, running("bench.fake_api") as source:
            url, process = source
            comparison = Comparison(engine, url, process.pid)
            wanted = await _affordable(comparison, began)
            for number in range(_ROUNDS):
                round_began = time.monotonic()
                await comparison.round(wanted, page=_PAGE, number=number)
                now = time.monotonic()
                is_late = now - began + (now - round_began) > _ROUNDS_END_S + 3
                if is_late and number + 1 < _ROUNDS:
                    print(f"slow here: {number + 1} rounds instead of {_ROUNDS}", file=sys.stderr)
                    break
            arguments = ("--address", engine.dev.temporal_address)
            namespace = ("--namespace", engine.dev.temporal_namespace)
            async with running("bench.hello", *arguments, *namespace):
                calls = await measure_calls(engine, url, calls=_CALLS, rounds=0)

    bare, save, loop = (Group(peer, wanted[peer], _PAGE, "first") for peer in (BARE, SAVE, LOOP))
    one = {name: statistics.median(took) for name, took in calls["one_by_one_ms"].items()}
    print(
        f"{wanted[SAVE]:,} records, {wanted[LOOP]:,} by the loop form; medians: "
        f"bare {median_of(comparison.found, bare, lambda m: m.records_per_s):,.0f}, "
        f"save {median_of(comparison.found, save, lambda m: m.records_per_s):,.0f}, "
        f"loop {median_of(comparison.found, loop, lambda m: m.records_per_s):,.0f} records/s; "
        f"action {one['action']:.1f} ms, bare workflow {one['bare']:.1f} ms"
    )
    print(
        quick_line(
            save=ratio_to(comparison.found, save, bare),
            loop=ratio_to(comparison.found, loop, bare),
            action=one["action"] / one["bare"],
            rss_growth_mb=median_of(comparison.found, save, lambda m: m.rss_growth_mb),
        )
    )


async def _affordable(comparison: Comparison, began: float) -> dict[str, int]:
    """Read some records by everybody, and return how many of them there is time for."""
    before = time.monotonic()
    await comparison.round(dict.fromkeys((BARE, SAVE, LOOP), _WARM_UP), page=_PAGE, number=0)
    took = {one.group.peer: one.seconds for one in comparison.found}
    besides = time.monotonic() - before - sum(took.values())
    comparison.found.clear()

    for_a_round = (_ROUNDS_END_S - (time.monotonic() - began)) / _ROUNDS - besides
    # The larger part for the two that are compared most closely.
    for_two, for_loop = 0.6 * for_a_round, 0.4 * for_a_round
    two = _within(for_two / (took[BARE] + max(took[SAVE] - _RUN_STARTS_S, took[BARE])))
    loop = _within(for_loop / max(took[LOOP] - _RUN_STARTS_S, took[BARE]))
    return {BARE: two, SAVE: two, LOOP: min(loop, two)}


def _within(times: float) -> int:
    """Return the records of some times the warm-up, in whole pages and within bounds."""
    return min(max(int(times * _WARM_UP) // _PAGE * _PAGE, _LEAST), _MOST)
