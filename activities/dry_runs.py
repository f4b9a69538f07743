"""Dry runs: their rows, and what they would have done, told at their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from temporalio import activity

from activities.delete_tracks import TrackOf
from activities.fixtures import FixtureTooLargeError, fixture_of
from activities.runs import FinishRunInput, RunStatus, run_start
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.dry_runs import PreviewedRecord
from perdure.db.records import ModelCounts
from perdure.ids import ConnectionKey
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.records.canonical import to_json
from perdure.records.delete_guard import must_be_confirmed
from perdure.temporal.payloads import Payload, RunContext

__all__ = ["AbsentPreview", "DryRunActivities", "FinishDryRunInput"]

_ROWS_SHOWN = 5
_IDS_SHOWN = 10_000
_LARGEST_ROW = 16 * 1024


class AbsentPreview(Payload):
    """What was not seen.

    Attributes:
        live: How many records there would be, these included.
        absent: How many were not seen.
        held: Whether a real run would hold their deletion back.
        ids: The first of them.
    """

    live: int
    absent: int
    held: bool
    ids: list[str] = []


class FinishDryRunInput(FinishRunInput):
    """A dry run that ends.

    Attributes:
        checkpoint: The one that it would have left, None where there would be none.
        metadata: What it was given or set in place of the connection's, None where nothing.
    """

    checkpoint: dict[str, str | int | float | bool] | None = None
    metadata: dict[str, Any] | None = None


class DryRunActivities:
    """Steps of dry runs. All of them may be repeated.

    Args:
        database: Our own data.
        catalog: Providers.
    """

    def __init__(self, database: Database, catalog: ProviderCatalog) -> None:
        self._database = database
        self._catalog = catalog

    @activity.defn
    async def begin_dry_run(self, context: RunContext) -> None:
        """Note that a dry run began."""
        await self._database.runs.start(run_start(context))
        await self._database.dry_runs.begin(context.run_id)

    @activity.defn
    async def preview_absent(self, of: TrackOf) -> AbsentPreview:
        """Preview the deletion of the records of a model that the run did not write."""
        run_id, dry_runs = of.context.run_id, self._database.dry_runs
        found = await dry_runs.absent(run_id, of.target)
        held = must_be_confirmed(
            live=found.live,
            absent=found.absent,
            saw_any=found.saw_any,
            share=of.context.delete_guard,
        )
        if held:
            return AbsentPreview(live=found.live, absent=found.absent, held=True)
        ids = await dry_runs.delete_absent(run_id, of.target)
        counts = ModelCounts(added=0, updated=0, deleted=len(ids), unchanged=0)
        await self._database.runs.add_counts(run_id, of.model, counts)
        return AbsentPreview(
            live=found.live, absent=len(ids), held=False, ids=list(ids[:_IDS_SHOWN])
        )

    @activity.defn
    async def finish_dry_run(self, finish: FinishDryRunInput) -> dict[str, dict[str, int]]:
        """Note how a dry run ended and what it would have done; return that as counts by model."""
        context, dry_runs = finish.context, self._database.dry_runs
        rows = await dry_runs.net(
            context.run_id,
            ConnectionKey(context.connection_key),
            context.variant,
            first=_ROWS_SHOWN,
        )
        records = _by_model(rows)
        report: dict[str, Any] = {
            "records": records,
            "checkpoint": finish.checkpoint,
            "metadata": finish.metadata,
            "fixture_refused": None,
        }
        fixture = None
        if context.keeps_requests and finish.status is RunStatus.SUCCESS:
            try:
                fixture = await fixture_of(
                    self._database,
                    context,
                    checkpoint=finish.checkpoint,
                    metadata=finish.metadata,
                    paginate=self._paginate(context.provider),
                )
            except FixtureTooLargeError as error:
                report["fixture_refused"] = str(error)
        ended_before = await dry_runs.get(context.run_id)
        if ended_before is None or ended_before.report is None:
            await dry_runs.end(context.run_id, report, fixture)
        elif isinstance(ended_before.report, dict):
            records = ended_before.report["records"]
        await self._database.runs.finish(
            context.run_id, finish.status, finished_at=utcnow(), error=finish.error
        )
        return {model: entry["counts"] for model, entry in records.items()}

    def _paginate(self, provider: str) -> Mapping[str, Any] | None:
        return self._catalog.get(provider).proxy.paginate if provider in self._catalog else None


def _by_model(rows: Sequence[PreviewedRecord]) -> dict[str, Any]:
    models: dict[str, Any] = {}
    for row in rows:
        none = {"added": 0, "updated": 0, "deleted": 0, "unchanged": 0}
        model = models.setdefault(row.model, {"counts": none, "rows": []})
        model["counts"][row.fate] = row.total
        if row.fate != "unchanged":
            model["rows"].append(
                {
                    "fate": row.fate,
                    "id": row.record_id,
                    "before": _shown(row.before),
                    "after": None if row.fate == "deleted" else _shown(row.after),
                }
            )
    return models


def _shown(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a record as it is shown: one that is very large by its id alone."""
    if record is None:
        return None
    size = len(to_json(dict(record)))
    if size <= _LARGEST_ROW:
        return dict(record)
    return {"id": record.get("id"), "...": f"{size // 1024:,} KiB"}
