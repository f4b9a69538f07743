"""Integrations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from activities.integrations import webhook_url
from api.dependencies import Caller, Deps
from api.errors import not_found_as_404
from api.schemas.integrations import (
    IntegrationAnswer,
    IntegrationChange,
    IntegrationDetail,
    IntegrationDetailAnswer,
    IntegrationList,
    IntegrationView,
    NewIntegration,
)
from perdure.errors import FieldError, InvalidInputError, NotFoundError
from perdure.providers.webhook_rules import webhook_rules

__all__ = ["router"]

router = APIRouter(tags=["integrations"])


@router.post("/integrations")
async def create_integration(deps: Deps, caller: Caller, body: NewIntegration) -> IntegrationAnswer:
    """Make an integration of a provider of the catalogue."""
    try:
        provider = deps.catalog.get(body.provider)
    except NotFoundError as error:
        fields = [FieldError(error.code, error.message, ("provider",))]
        raise InvalidInputError(error.message, errors=fields) from error
    # What is not valid is refused here, not when a provider calls.
    webhook_rules(provider.webhook, body.webhook_rules)
    integration = await deps.database.integrations.create(
        caller.id,
        body.unique_key,
        provider.name,
        display_name=body.display_name or provider.display_name,
        credentials=body.credentials.model_dump(exclude_none=True) if body.credentials else None,
        forward_webhooks=body.forward_webhooks,
        webhook_rules=body.webhook_rules,
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
    unique_key: str,
    include: Annotated[list[Literal["webhook", "credentials"]], Query()] = [],  # noqa: B006
) -> IntegrationDetailAnswer:
    """Return an integration, on request with its webhook address and its credentials."""
    with not_found_as_404():
        integration = await deps.database.integrations.get(caller.id, unique_key)
    facts: dict[str, Any] = IntegrationView.of(integration).model_dump()
    if "webhook" in include:
        facts["webhook_url"] = webhook_url(deps.settings.server_url, caller.name, unique_key)
        facts["webhook_rules"] = integration.webhook_rules
    if "credentials" in include:
        credentials = await deps.database.integrations.credentials(caller.id, unique_key)
        facts["credentials"] = credentials
    return IntegrationDetailAnswer(data=IntegrationDetail(**facts))


@router.patch("/integrations/{unique_key}")
async def change_integration(
    deps: Deps, caller: Caller, unique_key: str, body: IntegrationChange
) -> IntegrationAnswer:
    """Change an integration; it counts from the next webhook on."""
    with not_found_as_404():
        integration = await deps.database.integrations.get(caller.id, unique_key)
    known = integration.provider in deps.catalog
    provider = deps.catalog.get(integration.provider) if known else None
    webhook_rules(provider.webhook if provider else None, body.webhook_rules)
    given = body.model_fields_set
    integration = await deps.database.integrations.update(
        caller.id,
        unique_key,
        display_name=body.display_name,
        credentials=body.credentials.model_dump(exclude_unset=True) if body.credentials else None,
        forward_webhooks=body.forward_webhooks,
        webhook_rules=body.webhook_rules if "webhook_rules" in given else "same",
    )
    return IntegrationAnswer(data=IntegrationView.of(integration))
