"""Actions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

__all__ = ["ActionCall"]


class ActionCall(BaseModel):
    """One call of an action."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    action_name: str
    input: Any = None
