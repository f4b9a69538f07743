"""Integrations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from activities.integrations import webhook_url
from api.client_credentials import (
    check_client_credentials,
    needs_client,
    shown_client_credentials,
)
from api.connection_workflows import delete_all
from api.dependencies import Caller, CallerAccess, Dependencies, Deps
from api.errors import not_found_as_404
from api.schemas.base import Success
from api.schemas.integrations import (
    IntegrationAnswer,
    IntegrationChange,
    IntegrationCredentials,
    IntegrationDetail,
    IntegrationDetailAnswer,
    IntegrationList,
    IntegrationView,
    NewIntegration,
    QuickstartIntegration,
)
from perdure.errors import FieldError, InvalidInputError, NotFoundError
from perdure.providers.provider import Provider
from perdure.providers.webhook_rules import webhook_rules

__all__ = ["router"]

router = APIRouter(tags=["integrations"])


@router.post("/integrations")
async def create_integration(deps: Deps, caller: Caller, body: NewIntegration) -> IntegrationAnswer:
    """Make an integration of a provider of the catalogue."""
    provider = _provider(deps, body.provider)
    # What is not valid is refused here, not when a provider calls.
    webhook_rules(provider.webhook, body.webhook_rules)
    credentials = body.credentials
    if credentials is not None:
        check_client_credentials(provider, credentials)
    integration = await deps.database.integrations.create(
        caller.id,
        body.unique_key,
        provider.name,
        display_name=body.display_name or provider.display_name,
        credentials=_stored(credentials, keep_null=False),
        forward_webhooks=body.forward_webhooks,
        webhook_rules=body.webhook_rules,
        integration_config=body.integration_config,
        custom=body.custom,
    )
    return IntegrationAnswer(data=IntegrationView.of(integration))


@router.post("/integrations/quickstart")
async def create_quickstart_integration(
    deps: Deps, caller: Caller, body: QuickstartIntegration
) -> IntegrationAnswer:
    """Make an integration of a provider that asks for nothing beforehand.

    There are no shared OAuth applications here: a provider that needs one is refused.
    """
    provider = _provider(deps, body.provider)
    if needs_client(provider):
        msg = (
            f"{provider.display_name} needs the credentials of an application of your own: make "
            "the integration with POST /integrations."
        )
        raise InvalidInputError(msg, code="feature_disabled")
    integration = await deps.database.integrations.create(
        caller.id,
        body.unique_key or provider.name,
        provider.name,
        display_name=body.display_name or provider.display_name,
        forward_webhooks=body.forward_webhooks,
    )
    return IntegrationAnswer(data=IntegrationView.of(integration))


@router.get("/integrations")
async def list_integrations(deps: Deps, caller: Caller) -> IntegrationList:
    """Return all integrations of the environment."""
    integrations = await deps.database.integrations.list(caller.id)
    return IntegrationList(data=[IntegrationView.of(found) for found in integrations])


@router.get("/integrations/{unique_key}", response_model_exclude_unset=True)
async def get_integration(
    deps: Deps,
    caller: Caller,
    access: CallerAccess,
    unique_key: str,
    include: Annotated[list[Literal["webhook", "credentials"]], Query()] = [],  # noqa: B006
) -> IntegrationDetailAnswer:
    """Return an integration, on request with its webhook address and its credentials."""
    if "credentials" in include:
        access.require("environment:integrations:read_credentials")
    with not_found_as_404("not_found"):
        integration = await deps.database.integrations.get(caller.id, unique_key)
    facts: dict[str, Any] = IntegrationView.of(integration).model_dump()
    if "webhook" in include:
        facts["webhook_url"] = webhook_url(deps.settings.server_url, caller.name, unique_key)
        facts["webhook_rules"] = integration.webhook_rules
    if "credentials" in include:
        stored = await deps.database.integrations.credentials(caller.id, unique_key)
        known = integration.provider in deps.catalog
        auth_mode = deps.catalog.get(integration.provider).auth_mode if known else None
        facts["credentials"] = shown_client_credentials(auth_mode, stored)
    return IntegrationDetailAnswer(data=IntegrationDetail(**facts))


@router.patch("/integrations/{unique_key}")
async def change_integration(
    deps: Deps, caller: Caller, unique_key: str, body: IntegrationChange
) -> IntegrationAnswer:
    """Change an integration; it counts from the next webhook on."""
    with not_found_as_404("not_found"):
        integration = await deps.database.integrations.get(caller.id, unique_key)
    known = integration.provider in deps.catalog
    provider = deps.catalog.get(integration.provider) if known else None
    webhook_rules(provider.webhook if provider else None, body.webhook_rules)
    if provider is not None and body.credentials is not None:
        check_client_credentials(provider, body.credentials, whole=False)
    given = body.model_fields_set
    integration = await deps.database.integrations.update(
        caller.id,
        unique_key,
        new_unique_key=body.unique_key,
        display_name=body.display_name,
        credentials=_stored(body.credentials, keep_null=True),
        forward_webhooks=body.forward_webhooks,
        webhook_rules=body.webhook_rules if "webhook_rules" in given else "same",
        integration_config=body.integration_config,
        custom=body.custom,
    )
    return IntegrationAnswer(data=IntegrationView.of(integration))


@router.delete("/integrations/{unique_key}")
async def delete_integration(deps: Deps, caller: Caller, unique_key: str) -> Success:
    """Delete an integration with its connections, each as if it were deleted alone."""
    with not_found_as_404("not_found"):
        await deps.database.integrations.get(caller.id, unique_key)
    await delete_all(deps, caller, unique_key)
    with not_found_as_404("not_found"):
        await deps.database.integrations.delete(caller.id, unique_key)
    return Success()


def _provider(deps: Dependencies, name: str) -> Provider:
    try:
        return deps.catalog.get(name)
    except NotFoundError as error:
        fields = [FieldError(error.code, error.message, ("provider",))]
        raise InvalidInputError(error.message, errors=fields) from error


def _stored(
    credentials: IntegrationCredentials | None, *, keep_null: bool
) -> dict[str, Any] | None:
    """Return what is kept of credentials: not their type, which the provider says.

    Args:
        credentials: As they were sent.
        keep_null: Whether a null removes what is there.
    """
    if credentials is None:
        return None
    fields = credentials.model_dump(exclude={"type"}, exclude_unset=True)
    return {name: value for name, value in fields.items() if keep_null or value is not None}
