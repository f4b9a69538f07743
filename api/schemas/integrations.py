"""Integrations."""

from __future__ import annotations

from datetime import datetime

from api.schemas.base import Answer, Body, IntegrationKey
from perdure.db.integrations import Integration

__all__ = ["IntegrationAnswer", "IntegrationList", "IntegrationView", "NewIntegration"]


class NewIntegration(Body):
    """An integration to make."""

    provider: str
    unique_key: IntegrationKey
    display_name: str | None = None


class IntegrationView(Answer):
    """An integration without its credentials."""

    unique_key: str
    provider: str
    display_name: str
    logo: str | None = None
    created_at: datetime
    updated_at: datetime
    forward_webhooks: bool = False

    @classmethod
    def of(cls, integration: Integration) -> IntegrationView:
        """Show an integration."""
        return cls(
            unique_key=integration.unique_key,
            provider=integration.provider,
            display_name=integration.display_name,
            created_at=integration.created_at,
            updated_at=integration.updated_at,
        )


class IntegrationAnswer(Answer):
    """One integration."""

    data: IntegrationView


class IntegrationList(Answer):
    """All integrations of the environment."""

    data: list[IntegrationView]
