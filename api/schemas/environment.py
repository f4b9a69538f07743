"""The caller's environment."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from api.schemas.base import Answer, Body
from perdure.db.actions import ActionLimits
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
    """What is to change; what is left out stays.

    Attributes:
        action_limit: How many asynchronous actions run at the same time.
        connection_action_limit: How many of them for one connection.
    """

    validation: ValidationMode | None = None
    action_limit: int | None = Field(default=None, ge=1, le=10_000)
    connection_action_limit: int | None = Field(default=None, ge=1, le=10_000)


class EnvironmentView(Answer):
    """An environment.

    Attributes:
        uuid: Its public name, in addresses that others are given.
    """

    name: str
    uuid: UUID
    active_bundle: str | None
    validation: ValidationMode
    action_limit: int
    connection_action_limit: int
    created_at: datetime

    @classmethod
    def of(cls, environment: Environment, actions: ActionLimits) -> EnvironmentView:
        """Show an environment."""
        return cls(
            name=environment.name,
            uuid=environment.uuid,
            active_bundle=environment.active_bundle,
            validation=environment.validation,
            action_limit=actions.environment,
            connection_action_limit=actions.connection,
            created_at=environment.created_at,
        )


class VariableValue(Body):
    """The value that a variable gets."""

    value: str = Field(max_length=65_536, repr=False)


class EnvironmentVariable(Answer):
    """A variable of the environment, readable."""

    name: str
    value: str = Field(repr=False)
