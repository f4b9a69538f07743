"""The caller's environment."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from api.schemas.base import Answer, Body
from perdure.db.environments import Environment, ValidationMode

__all__ = [
    "EnvironmentChange",
    "EnvironmentVariable",
    "EnvironmentView",
    "VariableName",
    "VariableValue",
]

VariableName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
]
"""Name of a variable: letters, digits and underscores."""


class EnvironmentChange(Body):
    """What is to change; what is left out stays."""

    validation: ValidationMode | None = None


class EnvironmentView(Answer):
    """An environment."""

    name: str
    active_bundle: str | None
    validation: ValidationMode
    created_at: datetime

    @classmethod
    def of(cls, environment: Environment) -> EnvironmentView:
        """Show an environment."""
        return cls(
            name=environment.name,
            active_bundle=environment.active_bundle,
            validation=environment.validation,
            created_at=environment.created_at,
        )


class VariableValue(Body):
    """The value that a variable gets."""

    value: str = Field(max_length=65_536, repr=False)


class EnvironmentVariable(Answer):
    """A variable of the environment, readable."""

    name: str
    value: str = Field(repr=False)
