"""What an integration's own credentials have to hold for its provider, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.schemas.integrations import IntegrationCredentials
from perdure.errors import FieldError, InvalidInputError
from perdure.providers.provider import AuthMode, Provider

__all__ = ["check_client_credentials", "needs_client", "shown_client_credentials"]

_CLIENT = ("client_id", "client_secret")
_APP = ("app_id", "app_link", "private_key")
_NEEDED: Mapping[AuthMode, tuple[str, ...]] = {
    AuthMode.OAUTH1: _CLIENT,
    AuthMode.OAUTH2: _CLIENT,
    AuthMode.TBA: _CLIENT,
    AuthMode.APP: _APP,
    AuthMode.CUSTOM: (*_CLIENT, *_APP),
}
_SHOWN: Mapping[AuthMode, tuple[str, ...]] = {
    AuthMode.OAUTH1: (*_CLIENT, "scopes", "webhook_secret"),
    AuthMode.OAUTH2: (*_CLIENT, "scopes", "webhook_secret"),
    AuthMode.TBA: (*_CLIENT, "scopes", "webhook_secret"),
    AuthMode.APP: _APP,
    AuthMode.CUSTOM: (*_CLIENT, *_APP),
}


def needs_client(provider: Provider) -> bool:
    """Return whether an integration of a provider needs credentials of its own."""
    return provider.auth_mode in _NEEDED


def check_client_credentials(
    provider: Provider, given: IntegrationCredentials, *, whole: bool = True
) -> None:
    """Refuse credentials that are of another kind than the provider asks for.

    Args:
        provider: Entry of the provider.
        given: What is to be set.
        whole: Whether nothing was set before. Where a `type` is said, all of it must be there.

    Raises:
        InvalidInputError: With the fields to mend.
    """
    if given.type is None:
        return
    if given.type != provider.auth_mode:
        msg = f"{provider.display_name} integrations authenticate with {provider.auth_mode}."
        field = FieldError("invalid_credentials_type", msg, ("credentials", "type"))
        raise InvalidInputError(msg, errors=[field])
    needed = _NEEDED.get(provider.auth_mode, ()) if whole else ()
    missing = [name for name in needed if getattr(given, name) is None]
    if missing:
        raise InvalidInputError(
            f"The credentials lack {', '.join(missing)}.",
            errors=[
                FieldError("missing", "Field required", ("credentials", name)) for name in missing
            ],
        )


def shown_client_credentials(
    auth_mode: AuthMode | None, stored: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return an integration's credentials as clients know them: every field of its kind.

    Args:
        auth_mode: Of the provider, None where the catalogue does not have it any more.
        stored: As they are kept, decrypted.
    """
    stored = stored or {}
    fields = _SHOWN.get(auth_mode, ()) if auth_mode else ()
    if not fields:
        return dict(stored) or None
    # A secret of webhooks is shown where it is set, also for kinds that clients know without one.
    rest = {name: value for name, value in stored.items() if name not in fields}
    return {"type": auth_mode, **{name: stored.get(name) for name in fields}, **rest}
