"""Providers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, JsonValue

from api.schemas.base import Answer
from perdure.providers.provider import AuthMode, Provider

__all__ = ["ProviderAnswer", "ProviderList", "ProviderTemplates", "ProviderView"]


class ProviderView(Answer):
    """An entry of the catalogue with all its fields, as it was written.

    Attributes:
        name: What an integration names as its provider.
        auth_mode: How its connections authenticate.
        logo_url: None: no logos are shipped.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    display_name: str
    auth_mode: AuthMode
    logo_url: str | None = None

    @classmethod
    def of(cls, provider: Provider, entry: Mapping[str, JsonValue]) -> ProviderView:
        """Show a provider."""
        own = ("name", "display_name", "auth_mode", "logo_url")
        fields: dict[str, Any] = {name: value for name, value in entry.items() if name not in own}
        return cls(
            name=provider.name,
            display_name=provider.display_name,
            auth_mode=provider.auth_mode,
            **fields,
        )


class ProviderAnswer(Answer):
    """One provider."""

    data: ProviderView


class ProviderList(Answer):
    """Providers by name."""

    data: list[ProviderView]


class ProviderTemplates(Answer):
    """Scripts that could be taken over for a provider.

    Attributes:
        data: Nothing: no scripts are shipped.
    """

    data: list[dict[str, JsonValue]] = []
