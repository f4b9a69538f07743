"""Integrations."""

from __future__ import annotations

from fastapi import APIRouter

from api.dependencies import Caller, Deps
from api.schemas.integrations import (
    IntegrationAnswer,
    IntegrationList,
    IntegrationView,
    NewIntegration,
)
from perdure.errors import FieldError, InvalidInputError, NotFoundError

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
    integration = await deps.database.integrations.create(
        caller.id,
        body.unique_key,
        provider.name,
        display_name=body.display_name or provider.display_name,
    )
    return IntegrationAnswer(data=IntegrationView.of(integration))


@router.get("/integrations")
async def list_integrations(deps: Deps, caller: Caller) -> IntegrationList:
    """Return all integrations of the environment."""
    integrations = await deps.database.integrations.list(caller.id)
    return IntegrationList(data=[IntegrationView.of(found) for found in integrations])
