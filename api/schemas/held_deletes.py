"""Deletions that are held back until somebody confirms them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from api.schemas.base import Answer, Body
from perdure.db.delete_tracks import DeleteTrack
from perdure.ids import BASE_VARIANT

__all__ = ["ConfirmDeletesBody", "ConfirmedDeletes", "HeldDeletes"]


class HeldDeletes(Answer):
    """A deletion that is held back.

    Attributes:
        live: How many records the model had.
        absent: How many of them the run did not see.
        run_id: The run that held it back.
    """

    model: str
    live: int
    absent: int
    held_at: datetime
    run_id: str

    @classmethod
    def of(cls, tracks: Sequence[DeleteTrack]) -> list[HeldDeletes]:
        """Show tracks that are held back."""
        return [
            cls(
                model=track.target.model,
                live=track.live or 0,
                absent=track.absent or 0,
                held_at=track.held_at,
                run_id=track.held_by or "",
            )
            for track in tracks
            if track.held_at is not None
        ]


class ConfirmDeletesBody(Body):
    """Which deletions, and what is to become of them."""

    provider_config_key: str
    connection_id: str
    sync: str
    variant: str = BASE_VARIANT
    model: str | None = Field(default=None, description="Only of this model.")
    dismiss: bool = Field(default=False, description="Drop them instead: the records stay.")


class ConfirmedDeletes(Answer):
    """It is done, or under way.

    Attributes:
        deleted: Number of deleted records by model, null while the deletion is still under way.
    """

    success: bool = True
    deleted: dict[str, int] | None
