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
    shop: {type: string, automated: true, pattern: "^[a-z0-9]+$"}
  proxy: {base_url: "${connectionConfig.issuer}"}
local-oauth1:
  display_name: Local OAuth 1
  auth_mode: OAUTH1
  request_url: ${connectionConfig.issuer}/request
  authorization_url: ${connectionConfig.issuer}/authorize
  token_url: ${connectionConfig.issuer}/access
  signature_method: HMAC-SHA1
  connection_config:
    issuer: {type: string}
  proxy:
    base_url: ${connectionConfig.issuer}
    verification: {method: GET, endpoints: [/api/me]}
local-app:
  display_name: Local app
  auth_mode: APP
  authorization_url: ${connectionConfig.appPublicLink}/installations/new
  token_url: ${connectionConfig.issuer}/app/${connectionConfig.installation_id}/tokens
  redirect_uri_metadata: [installation_id]
  connection_config:
    issuer: {type: string}
    installation_id: {type: string, automated: true, pattern: "^[0-9]+$"}
  proxy:
    base_url: ${connectionConfig.issuer}
    verification: {method: GET, endpoints: [/repositories]}
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
local-two-step:
  display_name: Local two steps
  auth_mode: TWO_STEP
  token_url: ${connectionConfig.issuer}/signin
  body_format: json
  token_params: {user: "${credentials.user}", pass: "${credentials.pass}"}
  token_response: {token: data.token}
  token_expires_in_ms: 3600000
  credentials:
    user: {type: string, title: Account, order: 1, pattern: "^[a-z]+$"}
    pass: {type: string, title: Passphrase, order: 2, secret: true}
    hint: {type: string, title: Hint, order: 3, optional: true}
  connection_config:
    issuer: {type: string, title: Address}
  proxy:
    base_url: ${connectionConfig.issuer}
    headers: {authorization: "Token ${accessToken}"}
    verification: {method: GET, endpoints: [/me]}
local-jwt:
  display_name: Local JWT
  auth_mode: JWT
  credentials:
    keyId: {type: string, title: Key ID}
    privateKey: {type: string, title: Private key, secret: true}
  signature: {protocol: EC}
  token:
    signing_key: ${credentials.privateKey}
    expires_in_ms: 600000
    header: {alg: ES256, kid: "${credentials.keyId}"}
    payload: {aud: local}
  connection_config:
    issuer: {type: string, title: Address}
  proxy:
    base_url: ${connectionConfig.issuer}
    verification: {method: GET, endpoints: [/me]}
local-tba:
  display_name: Local TBA
  auth_mode: TBA
  connection_config:
    issuer: {type: string, title: Address}
    accountId: {type: string, title: Account}
  proxy:
    base_url: ${connectionConfig.issuer}
    verification: {method: GET, endpoints: [/api/me]}
local-signature:
  display_name: Local signature
  auth_mode: SIGNATURE
  signature: {protocol: WSSE}
  token: {expires_in_ms: 300000}
  connection_config:
    issuer: {type: string, title: Address}
  proxy:
    base_url: ${connectionConfig.issuer}
    headers: {x-wsse: "${accessToken}"}
    verification: {method: GET, endpoints: [/me]}
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
