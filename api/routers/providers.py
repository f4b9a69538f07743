"""The catalogue of providers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.dependencies import Deps
from api.errors import not_found_as_404
from api.schemas.providers import ProviderAnswer, ProviderList, ProviderTemplates, ProviderView

__all__ = ["router"]

router = APIRouter(tags=["providers"])


@router.get("/providers")
async def list_providers(
    deps: Deps, search: Annotated[str, Query(max_length=255)] = ""
) -> ProviderList:
    """Return the providers whose name or category holds a text, all of them without one."""
    catalog = deps.catalog
    return ProviderList(
        data=[ProviderView.of(one, catalog.entry(one.name)) for one in catalog.search(search)]
    )


@router.get("/providers/{provider}")
async def get_provider(deps: Deps, provider: str) -> ProviderAnswer:
    """Return a provider."""
    with not_found_as_404("not_found"):
        found = deps.catalog.get(provider)
    return ProviderAnswer(data=ProviderView.of(found, deps.catalog.entry(provider)))


@router.get("/providers/{provider}/templates")
async def list_provider_templates(deps: Deps, provider: str) -> ProviderTemplates:
    """Return the scripts that could be taken over for a provider: none are shipped."""
    with not_found_as_404("not_found"):
        deps.catalog.get(provider)
    return ProviderTemplates()
