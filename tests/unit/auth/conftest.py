"""Real servers on loopback that really check, and a client that may reach them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pytest_httpserver import HTTPServer

from perdure.auth.tokens import AuthTarget, ClientCredentials, TokenClient
from perdure.providers.provider import Provider
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport

from .oauth2_server import OAuth2Server

CLIENT = ClientCredentials(client_id="client-1", client_secret="client-secret-1")


class Clock:
    """A clock that tests set; it starts with the present, which real servers compare with."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    async with HttpTransport(AddressGuard(allow_private_networks=True)) as transport:
        yield transport


@pytest.fixture
def tokens(transport: HttpTransport, clock: Clock) -> TokenClient:
    return TokenClient(transport, clock=clock)


@pytest.fixture
def oauth2_server(httpserver: HTTPServer) -> OAuth2Server:
    return OAuth2Server(httpserver, CLIENT.client_id, CLIENT.client_secret)


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def provider(auth_mode: str, **fields: Any) -> Provider:
    return Provider.model_validate(
        {"name": "acme", "display_name": "Acme", "auth_mode": auth_mode, **fields}
    )


def target(
    entry: Provider, client: ClientCredentials = CLIENT, **connection_config: Any
) -> AuthTarget:
    return AuthTarget(entry, client, connection_config)


def private_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, pkcs1: bool = False) -> str:
    form = serialization.PrivateFormat
    return key.private_bytes(
        serialization.Encoding.PEM,
        form.TraditionalOpenSSL if pkcs1 else form.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
