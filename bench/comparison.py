"""One round: everybody reads the same records, one after the other, and must save the same."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.engine import Digest, Engine
from bench.measurements import Group, Measurement
from bench.programs import ROOT, ProgramError, result_of
from bench.usage import Memory, cpu_seconds

__all__ = [
    "BARE",
    "DLT",
    "DLT_PYTHON",
    "LOOP",
    "SAVE",
    "Calls",
    "Comparison",
    "measure_calls",
    "measure_record_pages",
]

BARE = "bare"
SAVE = "save"
LOOP = "loop"
DLT = "dlt"
DLT_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
"""Of the virtual environment that has what only the benchmark needs."""

_SYNCS = {SAVE: "issues-save", LOOP: "issues-loop"}

Calls = dict[str, dict[str, list[Any]]]
"""What `bench.calls` prints."""


@dataclass(slots=True)
class Comparison:
    """Measures peers.

    Attributes:
        engine: The running stack.
        source_url: The API that is read.
        source_pid: Its process.
        found: What was measured so far.
    """

    engine: Engine
    source_url: str
    source_pid: int
    found: list[Measurement] = field(default_factory=list)
    _turns: int = 0

    async def round(
        self, wanted: Mapping[str, int], *, page: int, number: int, again: bool = False
    ) -> None:
        """Run each peer once from an empty table, and a second time where that is wanted.

        Who begins changes with the round.

        Args:
            wanted: How many records each peer reads.
            page: Records of a page.
            number: Of the round.
            again: Whether to run the peers again over what they have just saved.

        Raises:
            ProgramError: A peer failed, or saved something else than another one.
        """
        peers = tuple(wanted)
        begins = number % len(peers)
        digests: dict[tuple[str, str, int], Digest] = {}
        for peer in (*peers[begins:], *peers[:begins]):
            self._turns += 1
            await self.engine.empty()
            await self._connect(peer, wanted[peer], page)
            for phase in ("first", "again") if again and peer != DLT else ("first",):
                await self.engine.write_out()
                await self._measure(Group(peer, wanted[peer], page, phase), number)
                if peer != DLT:  # it counts its own rows
                    digests[peer, phase, wanted[peer]] = await self._digest(peer)
        _check(digests)

    async def _connect(self, peer: str, records: int, page: int) -> None:
        if peer in _SYNCS:
            wanted = {"limit": page, "total": records}
            await self.engine.connect(self._name, self.source_url, **wanted)

    async def _measure(self, group: Group, number: int) -> None:
        before, source_before = self.engine.cpu(), cpu_seconds(self.source_pid)
        events = history_bytes = client_cpu = None
        if group.peer in _SYNCS:
            run = await self.engine.run(_SYNCS[group.peer], self._name)
            seconds, memory = run.seconds, run.memory
            events, history_bytes = run.events, run.history_bytes
        else:
            told, memory = await self._peer(group)
            seconds, client_cpu = told["seconds"], told["client_cpu_s"]
        after, source_after = self.engine.cpu(), cpu_seconds(self.source_pid)
        measured = Measurement(
            group=group,
            round=number,
            seconds=seconds,
            client_cpu_s=client_cpu or after["worker"] - before["worker"],
            temporal_cpu_s=after["temporal"] - before["temporal"],
            postgres_cpu_s=after["postgres"] - before["postgres"],
            source_cpu_s=source_after - source_before,
            peak_rss_mb=memory.peak,
            rss_growth_mb=memory.late - memory.early,
            events=events,
            history_bytes=history_bytes,
        )
        self.found.append(measured)
        _tell(measured)

    async def _peer(self, group: Group) -> tuple[dict[str, Any], Memory]:
        arguments = (
            *("--url", self.source_url),
            *("--limit", str(group.page), "--total", str(group.records)),
        )
        environment = {"BENCH_DATABASE_URL": self.engine.dev.database_url}
        if group.peer == DLT:
            return await result_of(
                "bench.dlt_peer", *arguments, environment=environment, python=str(DLT_PYTHON)
            )
        return await result_of(
            "bench.bare", *arguments, "--key", str(self._turns), environment=environment
        )

    async def _digest(self, peer: str) -> Digest:
        if peer in _SYNCS:
            return await self.engine.digest(self._name)
        return await self.engine.bare_digest(self._turns)

    @property
    def _name(self) -> str:
        return f"turn-{self._turns}"


async def measure_calls(engine: Engine, source_url: str, *, calls: int, rounds: int) -> Calls:
    """Call an action and a bare workflow in turns; `bench.hello` has to be running."""
    await engine.connect("calls", source_url)
    found, _ = await result_of(
        "bench.calls",
        *("--api-url", engine.dev.api_url),
        *("--address", engine.dev.temporal_address),
        *("--namespace", engine.dev.temporal_namespace),
        *("--calls", str(calls), "--rounds", str(rounds)),
        environment={"BENCH_SECRET_KEY": engine.secret_key},
    )
    return found


async def measure_record_pages(
    engine: Engine, source_url: str, *, records: int, limit: int, turns: int
) -> dict[str, list[float]]:
    """Read a set page by page over HTTP and by the raw query, in turns; returns milliseconds."""
    await engine.empty()
    await engine.connect("pages", source_url, limit=500, total=records)
    await engine.run(_SYNCS[SAVE], "pages")
    found, _ = await result_of(
        "bench.record_pages",
        *("--api-url", engine.dev.api_url),
        *("--connection-id", "pages"),
        *("--limit", str(limit), "--turns", str(turns)),
        environment={
            "BENCH_SECRET_KEY": engine.secret_key,
            "BENCH_DATABASE_URL": engine.dev.database_url,
        },
    )
    return found


def _check(digests: Mapping[tuple[str, str, int], Digest]) -> None:
    """See that all who read the same saved the same, and all of it."""
    expected: dict[int, Digest] = {}
    for (peer, phase, records), digest in digests.items():
        if digest[0] != records or digest != expected.setdefault(records, digest):
            raise ProgramError(f"{peer} ({phase}) did not save what was read: {digests}")


def _tell(measured: Measurement) -> None:
    group = measured.group
    print(
        f"{group.peer:>8} {group.phase:<5} {group.records:>9,} by {group.page}: "
        f"{measured.seconds:7.2f} s {measured.records_per_s:8,.0f} records/s  CPU s: "
        f"client {measured.client_cpu_s:.2f}, Temporal {measured.temporal_cpu_s:.2f}, "
        f"Postgres {measured.postgres_cpu_s:.2f}",
        file=sys.stderr,
    )
