"""How far a run is: kept while it runs, for its details in the Temporal UI and for a query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from perdure.temporal.payloads import RunProgress, Wait

__all__ = ["Progress"]

_COUNTED = ("added", "updated", "deleted", "unchanged")
_CURSOR_LENGTH = 300


class Progress:
    """Counts what a run does.

    Args:
        mask: Hides the run's secrets in a text.
    """

    def __init__(self, mask: Callable[[str], str]) -> None:
        self._mask = mask
        self._now = RunProgress()

    def snapshot(self) -> RunProgress:
        """Return how far the run is."""
        return self._now

    def resume(self, former: RunProgress) -> None:
        """Go on counting where a former execution stopped."""
        self._set(wait=None, **former.model_dump(exclude={"wait", "read", "read_pages"}))

    def request(self) -> None:
        """Count a request that is no page."""
        self._set(requests=self._now.requests + 1)

    def page(self, following: object) -> None:
        """Count a page.

        Args:
            following: Where the next one begins, None after the last.
        """
        self.pages(1, following)

    def pages(self, count: int, following: object) -> None:
        """Count pages.

        Args:
            count: How many.
            following: Where the next one begins, None after the last.
        """
        cursor = None if following is None else self._mask(str(following))[:_CURSOR_LENGTH]
        self._set(pages=self._now.pages + count, cursor=cursor)

    def reading(self, number: int, pages: int) -> None:
        """Say which read past the script is under way.

        Args:
            number: Its number in the workflow, 0 where none is any more.
            pages: How many of its pages are counted.
        """
        self._set(read=number, read_pages=pages)

    def records(self, model: str, counts: Mapping[str, int]) -> None:
        """Count what became of records."""
        before = self._now.records.get(model, {})
        total = {k: before.get(k, 0) + counts.get(k, 0) for k in (*before, *counts)}
        self._set(records={**self._now.records, model: total})

    def remark(self, model: str, text: str | None) -> None:
        """Say something about a model's records; None unsays it."""
        others = {m: said for m, said in self._now.remarks.items() if m != model}
        self._set(remarks=others if text is None else {**others, model: text})

    def items(self, *, begun: int = 0, done: int = 0, failed: int = 0) -> None:
        """Count items of `nango.each`."""
        now = self._now
        self._set(
            items=now.items + begun,
            items_done=now.items_done + done,
            items_failed=now.items_failed + failed,
        )

    def include(self, item: RunProgress) -> None:
        """Add what was done for an item in an execution of its own."""
        self._set(pages=self._now.pages + item.pages, requests=self._now.requests + item.requests)
        for model, counts in item.records.items():
            self.records(model, counts)

    @contextmanager
    def waiting(self, reason: str, until: datetime, attempt: int) -> Iterator[None]:
        """Tell what the script waits for while the block runs."""
        self._set(wait=Wait(reason=self._mask(reason), until=until, attempt=attempt))
        try:
            yield
        finally:
            self._set(wait=None)

    def _set(self, **changes: object) -> None:
        self._now = RunProgress.model_validate({**dict(self._now), **changes})
        workflow.set_current_details(_details(self._now))


def _details(now: RunProgress) -> str:
    facts = {
        "pages": f"{now.pages:,}" if now.pages else "",
        "requests": f"{now.requests:,}" if now.requests else "",
        "next page": f"`{now.cursor}`" if now.cursor else "",
        "items": _items(now),
        "waiting": f"until {now.wait.until:%Y-%m-%d %H:%M:%S} UTC: {now.wait.reason}"
        if now.wait
        else "",
    }
    parts = ["\n".join(f"- {name}: {text}" for name, text in facts.items() if text)]
    if now.records:
        header = "| model | " + " | ".join(_COUNTED) + " |\n" + "|---" * (len(_COUNTED) + 1) + "|"
        rows = (
            f"| {model} | " + " | ".join(f"{counts.get(k, 0):,}" for k in _COUNTED) + " |"
            for model, counts in now.records.items()
        )
        parts.append("\n".join((header, *rows)))
    parts.extend(now.remarks.values())
    return "\n\n".join(part for part in parts if part)


def _items(now: RunProgress) -> str:
    if not now.items:
        return ""
    failed = f", {now.items_failed:,} failed" if now.items_failed else ""
    return f"{now.items_done:,} of {now.items:,} done{failed}"
