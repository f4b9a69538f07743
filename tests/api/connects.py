"""What tests of connect sessions do over and over."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pytest_httpserver import HTTPServer

_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)

APP_KEY = _KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.NoEncryption(),
).decode()
"""Private key of an app."""

APP_PUBLIC_KEY = _KEY.public_key()
"""What its provider knows of it."""

CLIENT = {"type": "OAUTH2", "client_id": "our-client", "client_secret": "our-client-secret"}


async def make(shop: httpx.AsyncClient, provider: str, **more: Any) -> None:
    new = {"provider": provider, "unique_key": provider} | more
    answer = await shop.post("/integrations", json=new)
    assert answer.status_code == 200, answer.text


async def session(shop: httpx.AsyncClient, **body: Any) -> str:
    answer = await shop.post("/connect/sessions", json={"end_user": {"id": "u1"}} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]["token"]


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def leave(
    browser: httpx.AsyncClient, token: str, key: str, issuer: str, **more: str
) -> dict[str, str]:
    """Go to the consent page; returns what its address says."""
    params = {"connect_session_token": token, "params[issuer]": issuer} | more
    answer = await browser.get(f"/oauth/connect/{key}", params=params)
    assert answer.status_code == 302, answer.text
    return query_of(answer.headers["location"])


async def only_connection(shop: httpx.AsyncClient) -> dict[str, Any]:
    (found,) = (await shop.get("/connections")).json()["connections"]
    query = {"provider_config_key": found["provider_config_key"]}
    return (await shop.get(f"/connections/{found['connection_id']}", params=query)).json()


def issuer_of(httpserver: HTTPServer) -> str:
    return httpserver.url_for("").rstrip("/")
