"""The results as a table, and which targets were reached."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.results import Results

__all__ = ["show"]

_COLUMNS = (
    ("peer", "peer", "{}"),
    ("records", "records", "{:,}"),
    ("page", "page", "{}"),
    ("phase", "run", "{}"),
    ("runs", "runs", "{}"),
    ("seconds", "s", "{:.2f}"),
    ("records_per_s", "records/s", "{:,}"),
    ("ratio_to_bare", "to bare", "{:.2f}"),
    ("client_cpu_s", "CPU s", "{:.2f}"),
    ("temporal_cpu_s", "Temporal", "{:.2f}"),
    ("postgres_cpu_s", "Postgres", "{:.2f}"),
    ("cpu_ratio_to_bare", "CPU to bare", "{:.2f}"),
    ("peak_rss_mb", "MiB", "{:.0f}"),
    ("rss_growth_mb", "growth", "{:+.1f}"),
    ("events", "events", "{:,}"),
    ("history_bytes", "history B", "{:,}"),
)


def show(results: Results) -> None:
    """Print everything that was measured."""
    console = Console(width=170)
    rows = results.rows()
    table = Table(title="Reads", header_style="bold")
    for key, title, _ in _COLUMNS:
        table.add_column(title, justify="left" if key in {"peer", "phase"} else "right")
    for row in rows:
        table.add_row(*(_cell(row, key, form) for key, _, form in _COLUMNS))
    if rows:
        console.print(table)
    _show_source(console, results)
    _show_actions(console, results)
    _show_record_pages(console, results)
    for target in results.targets():
        word, bound = (
            ("at least", target["at_least"])
            if "at_least" in target
            else ("at most", target["at_most"])
        )
        mark = "[green]✓[/]" if target["met"] else "[red]✗[/]"
        console.print(f"{mark} {target['name']}: {target['value']:.2f} ({word} {bound})")


def _cell(row: dict[str, Any], key: str, form: str) -> str:
    value = row.get(key)
    return "" if value is None else form.format(value)


def _show_source(console: Console, results: Results) -> None:
    """Say how far the API is from being the bottleneck."""
    rows = results.rows()
    for name, piece in results.pieces.items():
        if not piece["measurements"]:
            continue
        sizes = {(one["group"]["records"], one["group"]["page"]) for one in piece["measurements"]}
        fastest = max(r["records_per_s"] for r in rows if (r["records"], r["page"]) in sizes)
        could = piece["source"]["records_per_s"]
        console.print(
            f"{name}: the API could serve {could:,.0f} records/s; "
            f"the fastest reader took {fastest / could:.0%} of that"
        )


def _show_actions(console: Console, results: Results) -> None:
    actions = results.actions()
    if actions is None:
        return
    table = Table(title="Actions and bare workflows, in turns", header_style="bold")
    for title in ("", "calls", "p50 ms", "p99 ms", "50 at once: calls/s", "p50 ms"):
        table.add_column(title, justify="right" if title else "left")
    for name, told in actions.items():
        table.add_row(name, *(f"{value:,}" for value in told.values()))
    console.print(table)


def _show_record_pages(console: Console, results: Results) -> None:
    pages = results.record_pages()
    if pages is None:
        return
    table = Table(title="Pages of 1,000 records, in turns", header_style="bold")
    for title in ("", "pages", "p50 ms", "p99 ms"):
        table.add_column(title, justify="right" if title else "left")
    for name, told in pages.items():
        table.add_row(name, *(f"{value:,}" for value in told.values()))
    console.print(table)
