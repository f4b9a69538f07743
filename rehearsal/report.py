"""The table at the end."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from rehearsal.tally import Phase
from rehearsal.verdict import Check

__all__ = ["Rehearsal", "show"]

_MOST_FAULTS = 10
_CODELESS = "503 without a code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What came of it.

    Attributes:
        phases: What happened, with the answers meanwhile.
        checks: What must be so afterwards.
        settled_seconds: How long what was begun took to end after the load.
        migrated_seconds: How long `perdure migrate` took.
        seconds: How long all of it took.
        surprises: Exit codes of ends that nobody asked for, and what the log had each time that an
            end took too long.
        late_before: How often a process of the release before took too long to end.
        repeated_orders: Writes that the provider was sent again under the same key.
        pages: Pages of items that were fetched.
    """

    phases: list[Phase]
    checks: list[Check]
    settled_seconds: float
    migrated_seconds: float
    seconds: float
    surprises: dict[str, tuple[list[int], list[str]]]
    late_before: int
    repeated_orders: int
    pages: int

    @property
    def faults(self) -> list[str]:
        """Answers that nobody may get."""
        codeless = [_CODELESS for phase in self.phases if phase.refused[_CODELESS]]
        return codeless + [fault for phase in self.phases for fault in phase.faults]

    @property
    def is_good(self) -> bool:
        """Whether everything was as it must be."""
        return (
            not self.faults and not self.surprises and all(check.is_good for check in self.checks)
        )


def show(rehearsal: Rehearsal, console: Console) -> None:
    """Print it."""
    happened = Table("phase", "s", "ready again after", "answered", "503", "broken", "longest gap")
    for phase in rehearsal.phases:
        happened.add_row(
            phase.name,
            f"{phase.seconds:.0f}",
            ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phase.took.items()),
            str(phase.answered),
            _counted(phase.refused),
            _counted(phase.broken),
            f"{phase.longest_gap:.1f} s",
        )
    found = Table("afterwards", "expected", "found", "")
    for check in _shortened(rehearsal.checks):
        found.add_row(check.what, str(check.expected), str(check.found), check.wrong or "")
    console.print(happened, found)
    console.print(
        f"{rehearsal.pages} pages fetched; {rehearsal.repeated_orders} writes sent again under "
        f"their key; settled {rehearsal.settled_seconds:.1f} s after the load; migrated in "
        f"{rehearsal.migrated_seconds:.1f} s; {rehearsal.seconds:.0f} s in all; load average "
        f"{os.getloadavg()[0]:.1f}."
    )
    for name, (codes, late) in rehearsal.surprises.items():
        console.print(f"{name} ended by itself with {codes}, and {len(late)} times took too long.")
    if rehearsal.late_before:
        console.print(
            f"Processes of the release before took too long to end, {rehearsal.late_before} times; "
            "they were killed."
        )
    for fault in rehearsal.faults[:_MOST_FAULTS]:
        console.print(f"Nobody may get this: {fault}")
    console.print("Nothing was lost." if rehearsal.is_good else "It is not as it must be.")


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "0"


def _shortened(checks: list[Check]) -> list[Check]:
    """Put checks of the same kind together where all is well with them."""
    shown: dict[str, Check] = {}
    for check in checks:
        what = check.what.partition(" for ")[0]
        if not check.is_good:
            shown[check.what] = check
        elif (before := shown.get(what)) is not None:
            shown[what] = Check(what, before.expected + check.expected, before.found + check.found)
        else:
            shown[what] = Check(what, check.expected, check.found)
    return list(shown.values())
