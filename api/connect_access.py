"""Lets in whoever holds the token of a connect session, and connects what they bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import JsonValue

from api.connecting import Account, Owner, connect_account
from api.dependencies import Dependencies, Deps
from api.errors import ApiError
from api.rate_limit import RateLimit
from perdure.connections.credentials import Credentials
from perdure.db.connect_sessions import ConnectSession
from perdure.db.connections import Connection
from perdure.db.environments import Environment
from perdure.db.integrations import Integration
from perdure.errors import FieldError, InvalidInputError, UnauthorizedError
from perdure.providers.provider import Provider

__all__ = [
    "EndUserAccess",
    "Guest",
    "TokenQuery",
    "access_of",
    "client_override",
    "config_of",
    "connect_for",
    "known_integration",
    "open_session",
    "public_url",
    "said_config",
]

TokenQuery = Annotated[str | None, Query(alias="connect_session_token", max_length=255)]
"""Token of a connect session, where it does not stand in the header."""


@dataclass(frozen=True, slots=True)
class EndUserAccess:
    """What an end user's token opens.

    Attributes:
        session: The session.
        environment: Where it is.
        connection: What is to be given new credentials, None where new ones are made.
    """

    session: ConnectSession
    environment: Environment
    connection: Connection | None = None

    def owns(self, connection: Connection) -> bool:
        """Say whether a connection belongs to whom the session is for.

        That is the same organization where both name one, otherwise the same end user; without
        end users the tags tell.
        """
        if self.connection is not None and self.connection.key == connection.key:
            return True
        details = self.session.details
        ours, theirs = details.get("end_user"), connection.end_user
        if ours is None or theirs is None:
            return ours is theirs and details.get("tags") == connection.tags
        organizations = [(user.get("organization") or {}).get("id") for user in (ours, theirs)]
        if all(organizations):
            return organizations[0] == organizations[1]
        return bool(ours.get("id") == theirs.get("id"))


async def open_session(request: Request, deps: Dependencies, token: str | None) -> EndUserAccess:
    """Return what a token opens, and count the request.

    Raises:
        ApiError: 429 `too_many_request`; a session may make as many requests as a key.
        UnauthorizedError: `missing_auth_header` or `unknown_connect_session`.
    """
    if not token:
        msg = "Send the token of a connect session, as `connect_session_token` or as bearer."
        raise UnauthorizedError(msg, code="missing_auth_header")
    session = await deps.database.connect_sessions.by_token(token)
    limit: RateLimit | None = request.app.state.session_limit
    if limit is not None:
        usage = limit.count(session.id.to_bytes(8))
        if usage.exceeded:
            msg = f"The session has made its {usage.limit} requests of this minute. Wait a little."
            raise ApiError(429, "too_many_request", msg, headers=usage.headers)
    return await access_of(deps, session)


async def access_of(deps: Dependencies, session: ConnectSession) -> EndUserAccess:
    """Return what a session opens."""
    environment = await deps.database.environments.by_id(session.environment_id)
    key = session.connection_key
    connection = None if key is None else await deps.database.connections.by_key(key)
    return EndUserAccess(session, environment, connection)


async def _guest(
    request: Request, deps: Deps, connect_session_token: TokenQuery = None
) -> EndUserAccess:
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() == "bearer" else None
    return await open_session(request, deps, connect_session_token or token)


Guest = Annotated[EndUserAccess, Depends(_guest)]
"""The end user whose token came along."""


def public_url(request: Request, deps: Dependencies) -> str:
    """Return the address under which browsers reach the API, without a slash at its end."""
    return (deps.settings.server_url or str(request.base_url)).rstrip("/")


async def known_integration(
    deps: Dependencies, guest: EndUserAccess, unique_key: str
) -> tuple[Integration, Provider]:
    """Return an integration that a session allows.

    Raises:
        ApiError: 403 `integration_not_allowed`.
        NotFoundError: `unknown_provider_config` or `unknown_provider`.
    """
    if not guest.session.allows(unique_key):
        msg = f"This session does not allow to connect {unique_key!r}."
        raise ApiError(403, "integration_not_allowed", msg)
    integration = await deps.database.integrations.get(guest.environment.id, unique_key)
    return integration, deps.catalog.get(integration.provider)


def said_config(guest: EndUserAccess, integration: Integration) -> dict[str, JsonValue]:
    """Return the parameters that the application has said; nothing overrules them."""
    return dict(guest.session.defaults(integration.unique_key).get("connection_config") or {})


def config_of(
    guest: EndUserAccess, integration: Integration, provider: Provider, given: Mapping[str, str]
) -> dict[str, JsonValue]:
    """Return the parameters of a new connection.

    What the application has said wins. An end user may fill in what the provider's entry asks
    people for, and nothing else: parameters become part of addresses.

    Raises:
        InvalidInputError: A parameter is missing, or not of the form that the entry asks for.
    """
    asked = {
        name: field for name, field in provider.connection_config.items() if not field.automated
    }
    config: dict[str, JsonValue] = {
        name: field.default_value for name, field in asked.items() if field.default_value
    }
    if guest.connection is not None:
        config |= guest.connection.connection_config
    filled = {name: value for name, value in given.items() if name in asked and value}
    if faults := {n: fault for n, v in filled.items() if (fault := asked[n].fault(v))}:
        errors = [
            FieldError("invalid_value", f"It {told}.", ("params", n)) for n, told in faults.items()
        ]
        msg = f"{'; '.join(f'{n} {told}' for n, told in faults.items())}."
        raise InvalidInputError(msg, code="invalid_connection_config", errors=errors)
    config |= filled
    config |= said_config(guest, integration)
    missing = [name for name, field in asked.items() if field.is_required and name not in config]
    if missing:
        msg = (
            f"{provider.display_name} needs {', '.join(missing)}: send it as params[{missing[0]}]."
        )
        raise InvalidInputError(msg, code="missing_connection_config")
    return config


def client_override(fields: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the client that an account brings along, None where it has none of its own.

    Args:
        fields: As clients of the API name them.

    Raises:
        InvalidInputError: One of the two is there without the other.
    """
    given = {part: fields.get(f"oauth_{part}_override") for part in ("client_id", "client_secret")}
    texts = {part: text for part, text in given.items() if isinstance(text, str) and text}
    if not texts:
        return None
    for part in given:
        if part not in texts:
            # Never a client of theirs with a secret of ours.
            name = f"oauth_{part}_override"
            msg = f"A client of the account's own needs its {name}, too."
            raise InvalidInputError(msg, errors=[FieldError("missing", msg, (name,))])
    return texts


async def connect_for(
    deps: Dependencies,
    guest: EndUserAccess,
    integration: Integration,
    credentials: Credentials,
    connection_config: Mapping[str, JsonValue],
) -> Connection:
    """Connect an account for the end user of a session.

    Raises:
        ApiError: As `api.connecting.connect_account`; 403 `integration_not_allowed`, the session
            is for a connection of another integration.
    """
    details: dict[str, Any] = guest.session.details
    known = guest.connection
    if known is not None and known.integration_id != integration.id:
        msg = f"This session is for a connection of {known.integration!r}."
        raise ApiError(403, "integration_not_allowed", msg)
    account = Account(
        integration, deps.catalog.get(integration.provider), credentials, connection_config
    )
    owner = Owner(
        known.connection_id if known else None,
        tags=details.get("tags"),
        end_user=details.get("end_user"),
        webhook_url_override=details.get("webhook_url_override"),
        only=known.key if known else None,
    )
    return await connect_account(deps, guest.environment, account, owner)
