"""What end users call with the token of a connect session, from pages of any site."""

from __future__ import annotations

__all__ = ["CONNECT_FOLDERS", "CONNECT_PATHS"]

CONNECT_PATHS = frozenset(
    {"/connect", "/connect/session", "/connect/telemetry", "/oauth/callback", "/app-auth/connect"}
)
"""Paths that no key of an environment is needed for."""

CONNECT_FOLDERS = (
    "/api-auth/",
    "/auth/",
    "/connect/assets/",
    "/connect/integrations/",
    "/oauth/connect/",
    "/oauth2/auth/",
)
"""Beginnings of such paths."""
