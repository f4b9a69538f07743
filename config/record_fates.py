"""What becomes of the records of a model when the sync that saved it saves it no longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from config.project import Integration, NangoConfig

__all__ = ["RecordFate", "record_fates"]


@dataclass(frozen=True, slots=True)
class RecordFate:
    """What becomes of the records that a sync has saved in a model.

    Attributes:
        integration: Key of the integration.
        sync: The sync.
        model: The model.
        keeper: The sync that saves the model from now on and keeps the records; None where they
            are erased.
    """

    integration: str
    sync: str
    model: str
    keeper: str | None


def record_fates(current: NangoConfig, desired: NangoConfig) -> Iterator[RecordFate]:
    """Yield the records that lose their sync when `desired` takes the place of `current`.

    A sync that takes a model over keeps its records if it or the one before it stays. Where one
    goes and the other is new, that is a sync under another name, which starts from nothing.
    """
    for old in current.integrations:
        new = desired.integration(old.key) or Integration(old.key)
        savers = {model: sync.name for sync in new.syncs for model in sync.output}
        for sync in old.syncs:
            for model in sync.output:
                saver = savers.get(model)
                if saver == sync.name:
                    continue
                stays = new.sync(sync.name) is not None
                is_kept = saver is not None and (stays or old.sync(saver) is not None)
                yield RecordFate(old.key, sync.name, model, saver if is_kept else None)
