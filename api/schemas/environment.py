"""The caller's environment."""

from __future__ import annotations

from datetime import datetime

from api.schemas.base import Answer, Body
from perdure.db.environments import Environment, ValidationMode

__all__ = ["EnvironmentChange", "EnvironmentView"]


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
