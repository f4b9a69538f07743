"""Encryption keys: what is encrypted with which, and how far a rotation is."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.schemas.base import Answer
from perdure.db.key_rotations import KeyRotation

__all__ = ["EncryptionKeyView", "EncryptionKeysView", "HistoriesView", "KeyRotationView"]


class EncryptionKeyView(Answer):
    """A key of the ring, or one that values name though it is missing there.

    Attributes:
        id: As in PERDURE_ENCRYPTION_KEYS.
        encrypts: Whether it is the first one of the ring, which encrypts.
        in_ring: Whether this API process has it; without it its values cannot be read.
        values: How many values of the database are encrypted with it, by table and column.
        can_be_retired: Whether nothing needs it any more, neither in the database nor in Temporal.
    """

    id: str
    encrypts: bool
    in_ring: bool
    values: dict[str, int]
    can_be_retired: bool


class KeyRotationView(Answer):
    """The last time that everything was encrypted anew.

    Attributes:
        doing: What it is at, empty when it is done.
        rewritten: How many values it has encrypted anew.
        interrupted: Whether it was ended by force; beginning again does the rest.
    """

    key_id: str
    workflow_id: str
    started_at: datetime
    finished_at: datetime | None
    doing: str
    rewritten: int
    interrupted: bool

    @classmethod
    def of(
        cls, rotation: KeyRotation, workflow_id: str, *, interrupted: bool = False
    ) -> KeyRotationView:
        """Show a rotation."""
        return cls(
            key_id=rotation.key_id,
            workflow_id=workflow_id,
            started_at=rotation.started_at,
            finished_at=rotation.finished_at,
            doing=rotation.doing,
            rewritten=rotation.rewritten,
            interrupted=interrupted,
        )


class HistoriesView(Answer):
    """Histories at Temporal that may hold values of older keys: those begun before the rotation.

    Attributes:
        older: How many are still there.
        running: How many of them are under way.
        retention_days: How long Temporal keeps a history after its end.
        gone_at: When the last of them is gone at the latest, null while one is under way.
    """

    older: int
    running: int
    retention_days: float
    gone_at: datetime | None


class EncryptionKeysView(Answer):
    """What is encrypted with which key.

    Attributes:
        histories: Null before the first rotation with the present key is done, and while Temporal
            does not answer.
    """

    keys: list[EncryptionKeyView] = Field(description="The one that encrypts first.")
    rotation: KeyRotationView | None
    histories: HistoriesView | None
