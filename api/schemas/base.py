"""What all bodies have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = ["Answer", "Body", "ConnectionId", "ErrorEnvelope", "IntegrationKey", "Success"]

ConnectionId = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=255, pattern=r"""^[a-zA-Z0-9,.;:=+~\[\]|@${}"'\\/_ -]+$"""
    ),
]
"""Name of a new connection."""

IntegrationKey = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9~:.@ _-]+$")
]
"""Key of a new integration."""


class Body(BaseModel):
    """A body that is sent to us; what we do not know is refused, so that typing errors show."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Answer(BaseModel):
    """A body that we send."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class Success(Answer):
    """It is done."""

    success: bool = True


class ErrorField(Answer):
    """One thing that is wrong with one field."""

    code: str
    message: str
    path: list[str | int]


class ErrorBody(Answer):
    """What failed: `code` for programs, `message` for people."""

    code: str
    message: str
    errors: list[ErrorField] = Field(default_factory=list)
    payload: object = None
    upstream: object = None


class ErrorEnvelope(Answer):
    """Every answer that is not a success."""

    error: ErrorBody
