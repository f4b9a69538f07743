"""Entries of the catalogue of providers, as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.app.cli.render.terminal import print_facts, print_table
from perdure.nango import JsonObject

__all__ = ["provider", "providers"]


def providers(answer: JsonObject, *, search: str | None) -> None:
    """Print providers."""
    print_table(
        ("Provider", "Name", "Authentication", "Categories"),
        [
            (
                found["name"],
                found["display_name"],
                found["auth_mode"],
                ", ".join(_texts(found.get("categories"))),
            )
            for found in answer["data"]
        ],
        whole=("Provider", "Authentication"),
        empty=f"No provider is called {search!r}; PERDURE_PROVIDERS names files with further ones.",
    )


def provider(answer: JsonObject) -> None:
    """Print one provider: what is needed to set an integration and connections of it up."""
    found = answer["data"]
    proxy = found.get("proxy") or {}
    pages = proxy.get("paginate") or {}
    verification = proxy.get("verification") or {}
    print_facts(
        {
            "Provider": found["name"],
            "Name": found["display_name"],
            "Authentication": found["auth_mode"],
            "Starts from": found.get("alias"),
            "API": proxy.get("base_url"),
            "Consent at": found.get("authorization_url"),
            "Tokens from": _one(found.get("token_url")),
            "Scopes": ", ".join(_texts(found.get("default_scopes"))),
            "Integration": _asked(found.get("integration_config")),
            "Connection": _asked(found.get("connection_config")),
            "Credentials": _asked(found.get("credentials")),
            "Pages": pages.get("type"),
            "Checked by": _checked(verification),
            "Webhooks": "verified" if (found.get("webhook") or {}).get("signature") else "",
            "Documentation": found.get("docs"),
        }
    )


def _asked(inputs: Mapping[str, Any] | None) -> str:
    """Say what is asked for, by name, and what of it need not be there."""
    return ", ".join(
        f"{name}{_aside(asked)}"
        for name, asked in (inputs or {}).items()
        if isinstance(asked, Mapping) and not asked.get("hidden")
    )


def _aside(asked: Mapping[str, Any]) -> str:
    if asked.get("automated"):
        return " (found out by itself)"
    return " (optional)" if asked.get("optional") else ""


def _checked(verification: Mapping[str, Any]) -> str:
    endpoints = _texts(verification.get("endpoints") or verification.get("endpoint"))
    return f"{verification.get('method', 'GET')} {' or '.join(endpoints)}" if endpoints else ""


def _one(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{address} ({mode})" for mode, address in value.items())
    return str(value or "")


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
