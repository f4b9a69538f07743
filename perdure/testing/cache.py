"""The records cache in memory, with the rules of the real one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from perdure.clock import utcnow
from perdure.records.merge import deep_merge
from perdure.records.prepare import (
    PreparedBatch,
    PreparedDeletion,
    prepare_batch,
    prepare_deletion,
    prepare_update,
)

__all__ = ["MemoryCache", "Written"]


@dataclass(frozen=True, slots=True)
class _Entry:
    payload: dict[str, Any]
    hash: bytes
    first_seen_at: datetime
    last_modified_at: datetime
    place: int
    deleted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did.

    Attributes:
        counts: `added`, `updated`, `deleted`, `unchanged`.
        duplicates: Ids that came more than once; the first of each was kept.
        ignored: How many were not there to be updated.
    """

    counts: dict[str, int]
    duplicates: tuple[str, ...] = ()
    ignored: int = 0


class MemoryCache:
    """Records of one connection by model.

    Args:
        records: What is there already.

    Attributes:
        written: By model the ids that were written since, each once, in order.
    """

    def __init__(self, records: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self._models: dict[str, dict[str, _Entry]] = {}
        self._place = 0
        self.written: dict[str, dict[str, None]] = {}
        for model, there in records.items():
            self.save(model, there)
        self.written = {}

    def save(self, model: str, records: Sequence[Any]) -> Written:
        """Add or update records.

        Raises:
            InvalidInputError: As `prepare_batch`; nothing is written.
        """
        return self.save_prepared(model, prepare_batch(records))

    def save_prepared(self, model: str, batch: PreparedBatch) -> Written:
        """As `save`, of records that are prepared."""
        counts = dict.fromkeys(("added", "updated", "deleted", "unchanged"), 0)
        for record_id, payload, hash_ in zip(batch.ids, batch.payloads, batch.hashes, strict=True):
            counts[self._put(model, record_id, json.loads(payload), hash_)] += 1
        return Written(counts, batch.duplicates)

    def update(self, model: str, records: Sequence[Any]) -> Written:
        """Merge fields into records that are there and not deleted.

        Raises:
            InvalidInputError: As `prepare_update`; nothing is written.
        """
        update = prepare_update(records)
        there = self._models.get(model, {})
        live = {
            record_id: entry
            for record_id in update.partials
            if (entry := there.get(record_id)) is not None and entry.deleted_at is None
        }
        merged = [
            {**deep_merge(entry.payload, update.partials[record_id]), "id": record_id}
            for record_id, entry in live.items()
        ]
        written = self.save(model, merged)
        ignored = len(update.partials) - len(live)
        return replace(written, duplicates=update.duplicates, ignored=ignored)

    def delete(self, model: str, records: Sequence[Any]) -> Written:
        """Mark records as deleted; their payload stays.

        Raises:
            InvalidInputError: As `prepare_deletion`; nothing is written.
        """
        return self.delete_prepared(model, prepare_deletion(records))

    def delete_prepared(self, model: str, deletion: PreparedDeletion) -> Written:
        """As `delete`, of records that are prepared."""
        deleted = unchanged = 0
        moments = dict(zip(deletion.batch.ids, deletion.deleted_at, strict=True))
        for record_id, moment in moments.items():
            entry = self._models.get(model, {}).get(record_id)
            if entry is not None and entry.deleted_at is None:
                deleted += 1
            elif entry is not None:
                unchanged += 1
            self._mark_deleted(model, record_id, entry, moment or utcnow())
        counts = {"added": 0, "updated": 0, "deleted": deleted, "unchanged": unchanged}
        return Written(counts, deletion.batch.duplicates)

    def delete_absent(self, model: str) -> list[str]:
        """Mark what was not written since the beginning as deleted, and return the ids."""
        seen = self.written.get(model, {})
        absent = [r["id"] for r in self.live(model) if r["id"] not in seen]
        self.delete(model, [{"id": record_id} for record_id in absent])
        return absent

    def live(self, model: str) -> list[dict[str, Any]]:
        """Return the records that are not deleted."""
        entries = self._models.get(model, {}).values()
        return [dict(entry.payload) for entry in entries if entry.deleted_at is None]

    def is_deleted(self, model: str, record_id: str) -> bool:
        """Say whether a record that was written is deleted."""
        return self._models[model][record_id].deleted_at is not None

    def payload(self, model: str, record_id: str) -> dict[str, Any]:
        """Return a record that was written."""
        return dict(self._models[model][record_id].payload)

    def read(self, model: str, ids: Sequence[str] | None) -> list[dict[str, Any]]:
        """Return records with their metadata, in the order of their latest change."""
        entries = sorted(self._models.get(model, {}).items(), key=lambda item: item[1].place)
        return [
            {**entry.payload, "_nango_metadata": _metadata(entry)}
            for record_id, entry in entries
            if ids is None or record_id in ids
        ]

    def _put(self, model: str, record_id: str, payload: dict[str, Any], hash_: bytes) -> str:
        self.written.setdefault(model, {})[record_id] = None
        there = self._models.setdefault(model, {})
        entry = there.get(record_id)
        if entry is not None and entry.deleted_at is None and entry.hash == hash_:
            return "unchanged"
        now = utcnow()
        is_new = entry is None or entry.deleted_at is not None
        first = now if entry is None or entry.deleted_at is not None else entry.first_seen_at
        self._place += 1
        there[record_id] = _Entry(payload, hash_, first, now, self._place)
        return "added" if is_new else "updated"

    def _mark_deleted(
        self, model: str, record_id: str, entry: _Entry | None, moment: datetime
    ) -> None:
        self.written.setdefault(model, {})[record_id] = None
        if entry is not None and entry.deleted_at is not None:
            return
        now = utcnow()
        self._place += 1
        entry = entry or _Entry({"id": record_id}, b"", now, now, 0)
        self._models.setdefault(model, {})[record_id] = replace(
            entry, deleted_at=moment, last_modified_at=now, place=self._place
        )


def _metadata(entry: _Entry) -> dict[str, Any]:
    last = "ADDED" if entry.first_seen_at == entry.last_modified_at else "UPDATED"
    return {
        "first_seen_at": entry.first_seen_at.isoformat(),
        "last_modified_at": entry.last_modified_at.isoformat(),
        "last_action": last if entry.deleted_at is None else "DELETED",
        "deleted_at": entry.deleted_at and entry.deleted_at.isoformat(),
        "pruned_at": None,
        "cursor": str(entry.place),
    }
