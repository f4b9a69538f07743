"""Actions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from api.schemas.base import Answer, Body

__all__ = ["ActionCall", "ActionRef", "StartedActionView"]


class ActionCall(BaseModel):
    """One call of an action."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    action_name: str
    input: Any = None


class ActionRef(Body):
    """Which action."""

    provider_config_key: str
    action_name: str


class StartedActionView(Answer):
    """An action that nobody waits for.

    Attributes:
        id: By which its result is read.
        statusUrl: Where.
    """

    id: str
    statusUrl: str
