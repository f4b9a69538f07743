"""Health of the process."""

from __future__ import annotations

from typing import Literal

from api.schemas.base import Answer

__all__ = ["Health", "Liveness"]


class Liveness(Answer):
    """That the process answers."""

    status: Literal["ok"] = "ok"
    version: str


class Health(Answer):
    """Which of the servers we need answer.

    Attributes:
        status: `degraded` where one of them does not; `stopping` once the process was told to end.
        version: Release of the process.
        database: `behind` where it lacks revisions that this release needs.
        temporal: Without it what is there can be read, and nothing be started.
    """

    status: Literal["ok", "degraded", "stopping"]
    version: str
    database: Literal["ok", "behind", "unavailable"]
    temporal: Literal["ok", "unavailable"]
