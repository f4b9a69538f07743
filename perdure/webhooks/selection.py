"""Which webhooks an environment wants, and where they go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perdure.db.webhook_settings import WebhookSettings
from perdure.webhooks.payloads import AuthOperation

__all__ = ["Destination", "destinations", "wants_auth", "wants_sync_success"]

_CHANGES = ("added", "updated", "deleted")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a webhook goes.

    Attributes:
        target: `primary`, `secondary` or `override`.
        url: The URL.
    """

    target: str
    url: str


def destinations(settings: WebhookSettings, override: str | None) -> list[Destination]:
    """Return where the webhooks of a connection go.

    Args:
        settings: Of the environment.
        override: URL of the connection, which takes the place of the environment's.
    """
    if override is not None:
        return [Destination("override", override)]
    urls = (("primary", settings.primary_url), ("secondary", settings.secondary_url))
    return [Destination(target, url) for target, url in urls if url is not None]


def wants_sync_success(settings: WebhookSettings, changes: Mapping[str, int]) -> bool:
    """Return whether a success is told: where something changed, or always where that is set."""
    return settings.on_sync_completion_always or any(changes.get(name, 0) for name in _CHANGES)


def wants_auth(settings: WebhookSettings, operation: AuthOperation) -> bool:
    """Return whether something that was done to credentials is told.

    `on_auth_creation` counts for new connections and for new credentials of old ones.
    """
    if operation == "refresh":
        return settings.on_auth_refresh_error
    return settings.on_auth_creation
