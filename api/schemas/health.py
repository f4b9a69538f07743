"""Health of the process."""

from __future__ import annotations

from typing import Literal

from api.schemas.base import Answer

__all__ = ["Health"]


class Health(Answer):
    """Which of the servers we need answer."""

    status: Literal["ok", "degraded"]
    version: str
    database: Literal["ok", "unavailable"]
    temporal: Literal["ok", "unavailable"]
