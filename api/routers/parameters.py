"""Parameters that several resources take."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Path, Query

__all__ = [
    "ConnectionIdHeader",
    "ConnectionIdPath",
    "IntegrationHeader",
    "IntegrationQuery",
    "OptionalConnectionIdHeader",
    "OptionalIntegrationHeader",
]

ConnectionIdHeader = Annotated[str, Header(alias="connection-id", min_length=1)]
"""Name of the connection."""

IntegrationHeader = Annotated[str, Header(alias="provider-config-key", min_length=1)]
"""Key of the integration."""

OptionalConnectionIdHeader = Annotated[str | None, Header(alias="connection-id")]
"""Name of the connection, where it does not stand in the body."""

OptionalIntegrationHeader = Annotated[str | None, Header(alias="provider-config-key")]
"""Key of the integration, where it does not stand in the body."""

ConnectionIdPath = Annotated[str, Path(min_length=1)]
"""Name of the connection; it may hold slashes."""

IntegrationQuery = Annotated[str, Query(alias="provider_config_key", min_length=1)]
"""Key of the integration."""
