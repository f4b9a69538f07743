"""Counts what runs come to, once it is committed, for whoever watches the whole of them."""

from __future__ import annotations

from collections.abc import Mapping

from perdure.db.record_batches import ModelCounts
from perdure.db.runs import RunEnd
from perdure.observability import metrics
from perdure.temporal.payloads import RunContext

__all__ = ["count_end", "count_records"]


def count_end(end: RunEnd | None) -> None:
    """Count a run that has ended; None, and dry runs, do not count."""
    if end is None or end.dry_run:
        return
    whose = {"integration": end.integration or "", "kind": end.kind, "script": end.script}
    metrics.RUNS.add(environment=end.environment, outcome=end.status.value, **whose)
    metrics.RUN_SECONDS.record((end.finished_at - end.started_at).total_seconds(), **whose)


def count_records(context: RunContext, model: str, counts: ModelCounts | Mapping[str, int]) -> None:
    """Count what became of records; those of dry runs do not count.

    Args:
        context: The run that handed them over.
        model: Their model.
        counts: How many were `added`, `updated`, `deleted`, `unchanged`.
    """
    if context.dry_run:
        return
    done = {
        "added": counts["added"],
        "updated": counts["updated"],
        "deleted": counts["deleted"],
        "unchanged": counts["unchanged"],
    }
    for outcome, count in done.items():
        metrics.RECORDS.add(
            count,
            environment=context.environment,
            integration=context.integration,
            model=model,
            outcome=outcome,
        )
