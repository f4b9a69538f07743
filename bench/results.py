"""What `results.json` holds, and how pieces that were measured one by one come together in it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.comparison import BARE, LOOP, SAVE, Calls
from bench.measurements import Group, Measurement, groups, median_of, percentile, ratio_to

__all__ = ["RESULTS", "Results"]

RESULTS = Path(__file__).with_name("results.json")

_MOST_MEMORY_MB = 300


class Results:
    """The figures of all pieces so far.

    Args:
        machine: On what they were measured.
        pieces: What was measured, by the name of the piece.
    """

    def __init__(self, machine: Mapping[str, Any], pieces: dict[str, dict[str, Any]]) -> None:
        self.machine = machine
        self.pieces = pieces

    @classmethod
    def begun_on(cls, machine: Mapping[str, Any], path: Path) -> Results:
        """Take up the pieces of a file, where they were measured on the same machine."""
        if path.exists():
            stored = json.loads(path.read_text())
            if stored["machine"] == machine:
                return cls(machine, stored["pieces"])
        return cls(machine, {})

    def put(
        self,
        piece: str,
        found: list[Measurement],
        *,
        about: Mapping[str, Any],
        calls: Calls | None = None,
    ) -> None:
        """Put what was measured in the place of what the piece had."""
        self.pieces[piece] = {
            **about,
            "measurements": [asdict(one) for one in found],
            "calls": calls,
        }

    def write(self, path: Path) -> None:
        """Write everything, with what is made of it."""
        told = {
            "machine": self.machine,
            "targets": self.targets(),
            "medians": self.rows(),
            "actions": self.actions(),
            "record_pages": self.record_pages(),
            "pieces": self.pieces,
        }
        path.write_text(json.dumps(told, indent=1) + "\n")

    def measurements(self) -> list[Measurement]:
        """Return all measurements of all pieces."""
        return [
            Measurement(**{**stored, "group": Group(**stored["group"])})
            for piece in self.pieces.values()
            for stored in piece["measurements"]
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each group: medians over its rounds."""
        found = self.measurements()
        rows = []
        for group in sorted(groups(found), key=lambda g: (g.records, g.page, g.phase != "first")):
            bare = Group(BARE, group.records, group.page, group.phase)
            ours = [one for one in found if one.group == group]
            row: dict[str, Any] = {**asdict(group), "runs": len(ours)}
            row["seconds"] = round(median_of(found, group, lambda one: one.seconds), 3)
            row["records_per_s"] = round(median_of(found, group, lambda one: one.records_per_s))
            if bare in groups(found):
                row["ratio_to_bare"] = round(ratio_to(found, group, bare), 3)
                row["cpu_ratio_to_bare"] = round(ratio_to(found, group, bare, _cpu), 3)
            for name in ("client_cpu_s", "temporal_cpu_s", "postgres_cpu_s", "source_cpu_s"):
                row[name] = round(statistics.median(getattr(one, name) for one in ours), 3)
            row["peak_rss_mb"] = round(max(one.peak_rss_mb for one in ours), 1)
            if ours[-1].events is not None:  # the worker: other processes start with their work
                growth = median_of(found, group, lambda one: one.rss_growth_mb)
                row["rss_growth_mb"] = round(growth, 1)
                row["events"] = ours[-1].events
                row["history_bytes"] = ours[-1].history_bytes
            rows.append(row)
        return rows

    def actions(self) -> dict[str, Any] | None:
        """Return how long actions take beside bare workflows, None where that was not measured."""
        calls: Calls | None = self.pieces.get("actions", {}).get("calls")
        if calls is None:
            return None
        told: dict[str, Any] = {}
        for name, took in calls["one_by_one_ms"].items():
            told[name] = {
                "calls": len(took),
                "p50_ms": round(percentile(took, 0.5), 2),
                "p99_ms": round(percentile(took, 0.99), 2),
                "at_once_per_s": round(
                    statistics.median(one["per_s"] for one in calls["at_once"][name]), 1
                ),
                "at_once_p50_ms": round(
                    statistics.median(one["p50_ms"] for one in calls["at_once"][name]), 1
                ),
            }
        return told

    def record_pages(self) -> dict[str, Any] | None:
        """Return how long pages of records take beside the raw query, None as `actions`."""
        took: dict[str, list[float]] | None = self.pieces.get("record-pages", {}).get("pages")
        if took is None:
            return None
        return {
            name: {
                "pages": len(times),
                "p50_ms": round(percentile(times, 0.5), 2),
                "p99_ms": round(percentile(times, 0.99), 2),
            }
            for name, times in took.items()
        }

    def targets(self) -> list[dict[str, Any]]:
        """Return what was to be reached, for as far as it was measured."""
        rows = {
            (row["peer"], row["records"], row["page"], row["phase"]): row for row in self.rows()
        }
        told = []
        for peer, least in ((SAVE, 0.9), (LOOP, 0.6)):
            for page in (100, 500):
                first = rows.get((peer, 100_000, page, "first"))
                if first is None:
                    continue
                name = f"{peer}, {page} a page: records/s over those of the bare loop"
                told.append(_target(name, first["ratio_to_bare"], at_least=least))
                second = rows.get((peer, 100_000, page, "again"))
                if second is not None:
                    name = f"{peer}, {page} a page: time over unchanged data over the first run's"
                    told.append(_target(name, self._repeated(peer, page), at_most=1.0))
            million = rows.get((peer, 1_000_000, 100, "first"))
            if million is not None:
                name = f"{peer}: most memory of the worker at 1,000,000 records, MiB"
                told.append(_target(name, million["peak_rss_mb"], at_most=_MOST_MEMORY_MB))
        actions = self.actions()
        if actions is not None:
            action, bare = actions["action"], actions["bare"]
            name = "action: median time over that of a bare workflow"
            told.append(_target(name, action["p50_ms"] / bare["p50_ms"], at_most=1.25))
            name = "50 actions at once: calls/s over those of bare workflows"
            value = action["at_once_per_s"] / bare["at_once_per_s"]
            told.append(_target(name, value, at_least=1.0))
        pages = self.record_pages()
        if pages is not None:
            name = "1,000 records over HTTP: median time over that of the raw query"
            value = pages["http"]["p50_ms"] / pages["raw"]["p50_ms"]
            told.append(_target(name, value, at_most=1.5))
        return told

    def _repeated(self, peer: str, page: int) -> float:
        """Return how long second runs took over how long the first ones of their rounds did."""
        first = Group(peer, 100_000, page, "first")
        again = replace(first, phase="again")
        return ratio_to(self.measurements(), again, first, lambda one: one.seconds)


def _cpu(one: Measurement) -> float:
    return one.client_cpu_s + one.temporal_cpu_s + one.postgres_cpu_s


def _target(
    name: str, value: float, *, at_least: float | None = None, at_most: float | None = None
) -> dict[str, Any]:
    value = round(value, 3)
    if at_least is not None:
        return {"name": name, "value": value, "at_least": at_least, "met": value >= at_least}
    assert at_most is not None
    return {"name": name, "value": value, "at_most": at_most, "met": value <= at_most}
