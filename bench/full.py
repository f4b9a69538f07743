"""The whole benchmark, in pieces that can also be measured one at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.comparison import (
    BARE,
    DLT,
    DLT_PYTHON,
    LOOP,
    SAVE,
    Comparison,
    measure_calls,
    measure_record_pages,
)
from bench.engine import Engine, running_engine
from bench.machine import describe, measured_code
from bench.programs import ROOT, ProgramError, result_of, running
from bench.results import RESULTS, Results
from bench.table import show

__all__ = ["PIECES", "full"]

_WARM_UP = 2_000
_CALLS = 300
_AT_ONCE_ROUNDS = 5
_CEILING_SECONDS = 2.0
# Not whole pages: so both notice in the same turn that they are at the end.
_PAGES_OF, _PAGE, _PAGE_TURNS = 99_500, 1_000, 600


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rounds of the same size.

    Attributes:
        records: How many each peer reads.
        page: Records of a page.
        rounds: How often each of our own and the bare loop runs.
        dlt_rounds: In how many rounds dlt takes part; it is slow, and no target is judged by it.
        again: Whether everybody runs a second time over unchanged data.
    """

    records: int
    page: int
    rounds: int
    dlt_rounds: int = 0
    again: bool = False

    def wanted(self, number: int) -> dict[str, int]:
        peers = (BARE, SAVE, LOOP, *((DLT,) if number < self.dlt_rounds else ()))
        return dict.fromkeys(peers, self.records)


_READS: Mapping[str, _Piece] = {
    "10k": _Piece(10_000, 100, rounds=5, dlt_rounds=3),
    "100k": _Piece(100_000, 100, rounds=5, dlt_rounds=3, again=True),
    "100k-500": _Piece(100_000, 500, rounds=5, again=True),
    "1m": _Piece(1_000_000, 100, rounds=3, dlt_rounds=1),
}
PIECES = (*_READS, "actions", "record-pages")
"""Names of the pieces."""


async def full(pieces: Sequence[str]) -> None:
    """Measure pieces, and write and show the results of these and of those that stand already.

    Raises:
        ProgramError: A piece was not measured to its end; what there is of it is kept.
    """
    if not DLT_PYTHON.exists():
        raise ProgramError(f"{DLT_PYTHON} is missing: `make bench` makes it")
    with tempfile.TemporaryDirectory(prefix="perdure-bench-") as folder:
        async with running_engine(Path(folder)) as engine, running("bench.fake_api") as source:
            url, process = source
            results = Results.begun_on(await describe(engine), RESULTS)
            comparison = Comparison(engine, url, process.pid)
            everybody = dict.fromkeys((BARE, SAVE, LOOP), _WARM_UP)
            await comparison.round(everybody, page=100, number=0)
            for name in pieces:
                about = {
                    "began_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "load_before": os.getloadavg()[0],
                    "perdure": measured_code(),
                }
                comparison.found.clear()
                calls = None
                try:
                    if name == "actions":
                        calls = await _calls(engine, url)
                    elif name == "record-pages":
                        about["pages"] = await measure_record_pages(
                            engine, url, records=_PAGES_OF, limit=_PAGE, turns=_PAGE_TURNS
                        )
                    else:
                        about |= {"source": await _ceiling(url, _READS[name].page)}
                        await _rounds(comparison, _READS[name])
                except ProgramError as error:
                    # An hour's work is not thrown away for what came last.
                    about["failed"] = str(error)
                    print(f"{name}: {error}", file=sys.stderr)
                results.put(name, comparison.found, about=about, calls=calls)
                results.write(RESULTS)
    show(results)
    print(f"written: {RESULTS}", file=sys.stderr)
    plot = (str(DLT_PYTHON), "-m", "bench.plot", str(RESULTS))
    subprocess.run(plot, check=True, cwd=ROOT)
    failed = [name for name in pieces if "failed" in results.pieces[name]]
    if failed:
        raise ProgramError(f"not measured to the end: {', '.join(failed)}")


async def _rounds(comparison: Comparison, piece: _Piece) -> None:
    for number in range(piece.rounds):
        await comparison.round(
            piece.wanted(number), page=piece.page, number=number, again=piece.again
        )


async def _calls(engine: Engine, url: str) -> Any:
    address, namespace = engine.dev.temporal_address, engine.dev.temporal_namespace
    async with running("bench.hello", "--address", address, "--namespace", namespace):
        return await measure_calls(engine, url, calls=_CALLS, rounds=_AT_ONCE_ROUNDS)


async def _ceiling(url: str, page: int) -> dict[str, Any]:
    """Return how fast the API serves pages to somebody who does nothing with them."""
    found, _ = await result_of(
        "bench.ceiling",
        *("--url", url, "--limit", str(page), "--seconds", str(_CEILING_SECONDS)),
    )
    return found
