"""Providers whose accounts tests connect, and the API that knows them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI

from activities.credential_keeper import CredentialKeeper
from api.app import create_app
from perdure.app.container import Container
from perdure.auth.tokens import TokenClient
from perdure.providers.provider_catalog import ProviderCatalog

PROVIDERS = """
local-oauth2:
  display_name: Local OAuth 2
  auth_mode: OAUTH2
  authorization_url: ${connectionConfig.issuer}/auth
  authorization_params: {prompt: consent, scope: openid offline_access}
  token_url: ${connectionConfig.issuer}/token
  authorization_method: header
  token_request_auth_method: basic
  redirect_uri_metadata: [shop]
  token_response_metadata: [team.id]
  connection_config:
    issuer: {type: string, title: Address of the server}
  proxy: {base_url: "${connectionConfig.issuer}"}
local-oauth1:
  display_name: Local OAuth 1
  auth_mode: OAUTH1
  request_url: ${connectionConfig.issuer}/request_token
  authorization_url: ${connectionConfig.issuer}/authorize
  token_url: ${connectionConfig.issuer}/access_token
  signature_method: HMAC-SHA1
  connection_config:
    issuer: {type: string}
  proxy: {base_url: "${connectionConfig.issuer}"}
local-app:
  display_name: Local app
  auth_mode: APP
  token_url: ${connectionConfig.issuer}/app/${connectionConfig.installation_id}/tokens
  connection_config:
    issuer: {type: string}
    installation_id: {type: string, automated: true}
  proxy: {base_url: "${connectionConfig.issuer}"}
local-key:
  display_name: Local key
  auth_mode: API_KEY
  docs_connect: https://docs.example.com/keys
  credentials:
    apiKey: {type: string, title: Secret token, description: It stands in your settings.}
  connection_config:
    issuer: {type: string, title: Address}
    region: {type: string, title: Region, enum: [eu, us], default_value: eu, optional: true}
    account: {type: string, automated: true}
  proxy:
    base_url: ${connectionConfig.issuer}
    headers: {authorization: "Bearer ${apiKey}"}
    verification: {method: GET, endpoints: [/me]}
local-cc:
  display_name: Local client credentials
  auth_mode: OAUTH2_CC
  token_url: ${connectionConfig.issuer}/token
  connection_config:
    issuer: {type: string}
  proxy: {base_url: "${connectionConfig.issuer}"}
"""


@asynccontextmanager
async def app_with_providers(
    container: Container, folder: Path, **settings: object
) -> AsyncIterator[FastAPI]:
    """The API with `PROVIDERS` besides the catalogue, and its lifespan."""
    file = folder / "providers.yaml"
    file.write_text(PROVIDERS)
    catalog = ProviderCatalog.load(file)
    async with CredentialKeeper(
        container.database, catalog, TokenClient(container.transport)
    ) as keeper:
        app = create_app(
            replace(
                container,
                catalog=catalog,
                keeper=keeper,
                settings=container.settings.model_copy(update=settings),
            )
        )
        async with app.router.lifespan_context(app):
            yield app
