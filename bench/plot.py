"""Draws `results.svg` beside a `results.json`; it runs where matplotlib is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__: list[str] = []

_NAMES = {
    "bare": "bare loop",
    "save": "Perdure, .save()",
    "loop": "Perdure, loop in the script",
    "dlt": "dlt",
}
_COLOURS = {"bare": "#5f6b7a", "save": "#0b6e4f", "loop": "#3a86c8", "dlt": "#c1666b"}


def _draw(told: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    mpl.rcParams["svg.hashsalt"] = "perdure"  # the same figures give the same file
    from matplotlib import pyplot

    figure, (cost, speed) = pyplot.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    rows = [row for row in told["medians"] if row["phase"] == "first"]
    for peer, name in _NAMES.items():
        ours = [row for row in rows if row["peer"] == peer and row["page"] == 100]
        if not ours:
            continue
        cost.plot(
            [row["records"] for row in ours],
            [row["client_cpu_s"] + row["temporal_cpu_s"] + row["postgres_cpu_s"] for row in ours],
            marker="o",
            label=name,
            color=_COLOURS[peer],
        )
    cost.set(xscale="log", yscale="log", xlabel="records", ylabel="CPU seconds")
    cost.set_title("Cost against size: CPU of client, Temporal and Postgres")
    cost.grid(visible=True, which="major", alpha=0.3)
    cost.legend(frameon=False)

    pages = sorted({row["page"] for row in rows if row["records"] == 100_000})
    width = 0.8 / len(_NAMES)
    for place, (peer, name) in enumerate(_NAMES.items()):
        found = {
            row["page"]: row.get("ratio_to_bare")
            for row in rows
            if row["peer"] == peer and row["records"] == 100_000
        }
        drawn = [(at, found[page]) for at, page in enumerate(pages) if found.get(page)]
        if not drawn:
            continue
        bars = speed.bar(
            [at + (place - 1.5) * width for at, _ in drawn],
            [ratio for _, ratio in drawn],
            width,
            label=name,
            color=_COLOURS[peer],
        )
        speed.bar_label(bars, fmt="%.2f", fontsize=8)
    speed.axhline(1, color="black", linewidth=0.8)
    speed.set_xticks(range(len(pages)), [f"{page} records a page" for page in pages])
    speed.set_ylabel("records/s over those of the bare loop")
    speed.set_title("Speed at 100,000 records")

    machine = told["machine"]
    figure.suptitle(
        f"{machine['cores']} cores, {machine['processor']}, {machine['memory_gib']:.0f} GiB; "
        f"Python {machine['python']}, Postgres {machine['postgres'].split()[0]}, "
        f"Temporal {machine['temporal']}",
        fontsize=9,
        color="#5f6b7a",
    )
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    source = Path(sys.argv[1])
    told = json.loads(source.read_text())
    if told["medians"]:
        _draw(told, source.with_suffix(".svg"))
