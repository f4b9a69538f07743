"""How an account becomes a connection, whichever way its credentials came.

The credentials are tried first, then stored, then the connection is set up by its workflow.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from pydantic import JsonValue

from api.connection_workflows import set_up
from api.dependencies import Dependencies
from api.errors import ApiError
from perdure.auth.target import AuthTarget
from perdure.auth.tokens import TokenClient, TokenError
from perdure.connections.client_credentials import ClientCredentials
from perdure.connections.credentials import (
    AppCredentials,
    Credentials,
    JwtCredentials,
    OAuth2ClientCredentials,
    SignatureCredentials,
    TwoStepCredentials,
    reveal_credentials,
)
from perdure.db.connections import Connection
from perdure.db.environments import Environment
from perdure.db.integrations import Integration
from perdure.errors import PerdureError, UnavailableError
from perdure.ids import ConnectionKey
from perdure.providers.provider import Provider
from perdure.proxy.auth import template_variables
from perdure.proxy.client import ProxyClient
from perdure.proxy.requests import HttpRequest, HttpResponse
from perdure.proxy.verification import VerdictKind, verify

__all__ = ["Account", "Owner", "auth_target", "connect_account"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """An account of a provider.

    Attributes:
        integration: Whose provider it is.
        provider: Entry of that provider.
        credentials: What it authenticates with.
        connection_config: Parameters of the provider; None leaves those of a known connection.
    """

    integration: Integration
    provider: Provider
    credentials: Credentials
    connection_config: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """What the application says of a connection; None leaves what a known connection has.

    Attributes:
        connection_id: Its name, made up if None.
        metadata: JSON object that belongs to the application.
        tags: Strings by name.
        end_user: Whom it belongs to.
        webhook_url_override: Where its webhooks go.
        only: The connection that must still be there, None where one is made if it is not.
    """

    connection_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    tags: Mapping[str, str] | None = None
    end_user: Mapping[str, Any] | None = None
    webhook_url_override: str | None = None
    only: ConnectionKey | None = field(default=None, kw_only=True)


async def auth_target(
    deps: Dependencies,
    integration: Integration,
    provider: Provider,
    connection_config: Mapping[str, JsonValue] | None = None,
) -> AuthTarget:
    """Return for whom tokens are got."""
    stored = await deps.database.integrations.credentials(
        integration.environment_id, integration.unique_key
    )
    return AuthTarget(
        provider=provider,
        client=ClientCredentials.of(stored),
        connection_config=connection_config or {},
        integration_config=integration.integration_config,
    )


async def connect_account(
    deps: Dependencies, environment: Environment, account: Account, owner: Owner
) -> Connection:
    """Make a connection of an account, or give an existing one its credentials.

    Raises:
        ApiError: 400 `connection_test_failed`, the provider refused the credentials; 400
            `connection_validation_failed`, a script did.
        UpstreamError: The provider did not say whether the credentials are good.
        ConflictError: `connection_being_deleted`.
        NotFoundError: The connection was deleted meanwhile.
        UnavailableError: Temporal does not answer; a new connection was not made.
    """
    account = await _tried(deps, account)
    store = deps.database.connections
    if owner.only is not None:
        await store.by_key(owner.only)
    connection, is_new = await store.save(
        environment.id,
        account.integration.unique_key,
        owner.connection_id or str(uuid.uuid4()),
        reveal_credentials(account.credentials),
        metadata=owner.metadata,
        connection_config=account.connection_config,
        tags=owner.tags,
        end_user=owner.end_user,
        webhook_url_override=owner.webhook_url_override,
        awaits_setup=True,
    )
    try:
        await set_up(deps, environment, connection, "creation" if is_new else "override")
    except UnavailableError:
        if is_new:
            # Without an id of its own a second attempt would make a second connection.
            await deps.database.lifecycle.withdraw(connection.key, connection.credentials_version)
        raise
    return await store.by_key(connection.key)


async def _tried(deps: Dependencies, account: Account) -> Account:
    """Get the first token where one is needed, and ask the provider whether all is well."""
    try:
        match account.credentials:
            case (
                AppCredentials()
                | JwtCredentials()
                | OAuth2ClientCredentials()
                | SignatureCredentials()
                | TwoStepCredentials()
            ):
                target = await auth_target(
                    deps, account.integration, account.provider, account.connection_config
                )
                client = TokenClient(deps.transport)
                account = replace(
                    account, credentials=await client.obtain(target, account.credentials)
                )
    except TokenError as error:
        if error.lasting:
            raise _refused(error) from error
        raise
    await _verify(deps, account)
    return account


async def _verify(deps: Dependencies, account: Account) -> None:
    """Ask the provider whether the credentials are good, and refuse those that clearly are not."""
    provider = account.provider
    config = account.connection_config or {}
    target = await auth_target(deps, account.integration, provider, config)
    client = ProxyClient(deps.transport)

    async def send(request: HttpRequest) -> HttpResponse:
        return await client.send(
            request,
            provider=provider,
            credentials=account.credentials,
            connection_config=config,
            client=target.client,
        )

    variables = template_variables(account.credentials, config, target.client)
    verdict = await verify(provider.proxy.verification, variables, send)
    if verdict.kind is VerdictKind.REFUSED and verdict.error is not None:
        raise _refused(verdict.error) from verdict.error
    if verdict.error is not None:
        log.info("credentials_not_verified", provider=provider.name, code=verdict.error.code)


def _refused(error: PerdureError) -> ApiError:
    return ApiError(400, "connection_test_failed", error.message)
