import base64
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, RSAKey
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from perdure.auth.tokens import ClientCredentials, TokenClient, TokenError, can_be_refreshed
from perdure.connections.credentials import (
    Credentials,
    access_token_of,
    expires_at_of,
    parse_credentials,
    reveal_credentials,
)
from perdure.proxy.auth import inject, template_variables
from perdure.proxy.exchange import OutgoingRequest
from perdure.proxy.transport import HttpTransport

from .conftest import Clock, private_pem, provider, public_pem, target


async def status(transport: HttpTransport, entry: Any, credentials: Credentials, url: str) -> int:
    """Send a request as the proxy does; return how it was answered."""
    headers = inject(entry, credentials, template_variables(credentials, {})).headers
    return (await transport.send(OutgoingRequest("GET", url, headers))).status


# JWT.


class JwtApi:
    """Lets requests through whose bearer token it can verify."""

    def __init__(self, server: HTTPServer, key: RSAKey | ECKey | OctKey, algorithm: str) -> None:
        self.url = server.url_for("/api")
        self.key, self.algorithm = key, algorithm
        self.seen: list[tuple[dict[str, Any], dict[str, Any]]] = []
        server.expect_request("/api").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            read = jwt.decode(token, self.key, algorithms=[self.algorithm])
            jwt.JWTClaimsRegistry(exp={"essential": True}, iat={"essential": True}).validate(
                read.claims
            )
        except JoseError as error:
            return Response(str(error), 401)
        self.seen.append((read.header, read.claims))
        return Response("{}", 200 if kind == "Bearer" else 401)


def jwt_provider(protocol: str, **fields: Any) -> Any:
    token: dict[str, Any] = {
        "signing_key": "${credentials.privateKey}",
        "expires_in_ms": 600_000,
        "header": {"typ": "JWT", "kid": "${credentials.privateKeyId}"},
        "payload": {"iss": "${credentials.issuerId}", "aud": "appstore", "scope": ["a", "b"]},
        **fields.pop("token", {}),
    }
    return provider("JWT", signature={"protocol": protocol, **fields}, token=token)


def inputs(**fields: Any) -> Credentials:
    return parse_credentials({"type": "JWT", "privateKeyId": "k-1", "issuerId": "i-1", **fields})


@pytest.mark.parametrize("protocol", ["RSA", "EC"])
async def test_token_that_is_signed_by_a_private_key_is_verified(
    tokens: TokenClient,
    transport: HttpTransport,
    httpserver: HTTPServer,
    clock: Clock,
    rsa_key: rsa.RSAPrivateKey,
    ec_key: ec.EllipticCurvePrivateKey,
    protocol: str,
) -> None:
    native = rsa_key if protocol == "RSA" else ec_key
    importer = RSAKey if protocol == "RSA" else ECKey
    api = JwtApi(httpserver, importer.import_key(public_pem(native)), f"{protocol[0]}S256")
    entry = jwt_provider(protocol)
    made = await tokens.obtain(target(entry), inputs(privateKey=private_pem(native)))

    assert await status(transport, entry, made, api.url) == 200
    header, claims = api.seen[0]
    assert header == {"typ": "JWT", "kid": "k-1", "alg": f"{protocol[0]}S256"}
    now = int(clock.now.timestamp())
    assert claims == {
        "iss": "i-1",
        "aud": "appstore",
        "scope": ["a", "b"],
        "iat": now,
        "exp": now + 600,
    }
    assert expires_at_of(made) == clock.now + timedelta(minutes=10)
    assert can_be_refreshed(entry, made)


async def test_key_that_is_shown_as_id_and_secret_in_one_piece(
    tokens: TokenClient, transport: HttpTransport, httpserver: HTTPServer
) -> None:
    secret = "00112233445566778899aabbccddeeff"
    api = JwtApi(httpserver, OctKey.import_key(bytes.fromhex(secret)), "HS256")
    entry = jwt_provider(
        "HMAC",
        hmac_secret_encoding="hex",
        token={
            "signing_key": "${credentials.privateKey.secret}",
            "header": {"alg": "HS256", "kid": "${credentials.privateKey.id}"},
            "payload": {"aud": "/admin/"},
        },
    )
    for key in (f"64aa:{secret}", {"id": "64aa", "secret": secret}):
        made = await tokens.obtain(target(entry), inputs(privateKey=key))
        assert await status(transport, entry, made, api.url) == 200
        header, claims = api.seen[-1]
        assert (header["kid"], claims["aud"]) == ("64aa", "/admin/")
        assert reveal_credentials(made)["privateKey"] == key


async def test_refresh_makes_another_token_before_the_old_one_ends(
    tokens: TokenClient,
    transport: HttpTransport,
    httpserver: HTTPServer,
    clock: Clock,
) -> None:
    api = JwtApi(httpserver, OctKey.import_key(b"0123456789abcdef"), "HS256")
    entry = jwt_provider("HMAC", token={"expires_in_ms": 60_000})
    clock.passes(-120)
    old = await tokens.obtain(target(entry), inputs(privateKey="0123456789abcdef"))
    assert await status(transport, entry, old, api.url) == 401
    clock.passes(120)
    new = await tokens.refresh(target(entry), old)
    assert await status(transport, entry, new, api.url) == 200


async def test_token_of_another_key_is_not_verified(
    tokens: TokenClient, transport: HttpTransport, httpserver: HTTPServer
) -> None:
    api = JwtApi(httpserver, OctKey.import_key(b"0123456789abcdef"), "HS256")
    entry = jwt_provider("HMAC")
    made = await tokens.obtain(target(entry), inputs(privateKey="fedcba9876543210"))
    assert await status(transport, entry, made, api.url) == 401


@pytest.mark.parametrize(
    ("entry", "credentials", "code"),
    [
        (provider("JWT"), inputs(privateKey="k"), "incomplete_provider"),
        (jwt_provider("RSA"), inputs(), "invalid_credentials"),
        (jwt_provider("RSA"), inputs(privateKey="hunter2"), "invalid_credentials"),
    ],
)
async def test_what_cannot_be_signed_is_said(
    tokens: TokenClient, entry: Any, credentials: Credentials, code: str
) -> None:
    with pytest.raises(TokenError) as raised:
        await tokens.obtain(target(entry), credentials)
    assert (raised.value.code, raised.value.lasting) == (code, True)
    assert "hunter2" not in raised.value.message


# WSSE.


class WsseApi:
    """Lets requests through whose digest it computes itself."""

    def __init__(self, server: HTTPServer, username: str, password: str) -> None:
        self.url = server.url_for("/api")
        self.username, self.password = username, password
        self.nonces: set[str] = set()
        server.expect_request("/api").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        said = dict(re.findall(r'(\w+)="([^"]*)"', request.headers.get("X-WSSE", "")))
        hashed = hashlib.sha1(
            f"{said['Nonce']}{said['Created']}{self.password}".encode()
        ).hexdigest()
        created = datetime.strptime(said["Created"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        right = (
            request.headers["X-WSSE"].startswith("UsernameToken ")
            and said["Username"] == self.username
            and base64.b64decode(said["PasswordDigest"]).decode() == hashed
            and abs(datetime.now(UTC) - created) < timedelta(minutes=5)
            and said["Nonce"] not in self.nonces
        )
        self.nonces.add(said["Nonce"])
        return Response("{}", 200 if right else 401)


WSSE = {
    "signature": {"protocol": "WSSE"},
    "token": {"expires_in_ms": 240_000},
    "proxy": {"headers": {"X-WSSE": "${accessToken}"}},
}


async def test_wsse_statement_is_recomputed_by_the_provider(
    tokens: TokenClient, transport: HttpTransport, httpserver: HTTPServer, clock: Clock
) -> None:
    api = WsseApi(httpserver, "ada", "päss word")
    entry = provider("SIGNATURE", **WSSE)
    given = parse_credentials({"type": "SIGNATURE", "username": "ada", "password": "päss word"})
    made = await tokens.obtain(target(entry), given)
    assert await status(transport, entry, made, api.url) == 200
    # Used up: another one is made for the next.
    assert await status(transport, entry, made, api.url) == 401
    assert await status(transport, entry, await tokens.refresh(target(entry), made), api.url) == 200
    assert expires_at_of(made) == clock.now + timedelta(minutes=4)
    assert "päss word" not in str(access_token_of(made))
    clock.passes(-600)
    stale = await tokens.obtain(target(entry), given)
    assert await status(transport, entry, stale, api.url) == 401
    clock.passes(600)
    wrong = parse_credentials({"type": "SIGNATURE", "username": "ada", "password": "no"})
    made = await tokens.obtain(target(entry), wrong)
    assert await status(transport, entry, made, api.url) == 401


async def test_statement_goes_only_where_the_entry_puts_it(tokens: TokenClient) -> None:
    entry = provider("SIGNATURE", **WSSE)
    given = parse_credentials({"type": "SIGNATURE", "username": "ada", "password": "p"})
    made = await tokens.obtain(target(entry), given)
    injected = inject(entry, made, template_variables(made, {}))
    assert set(injected.headers) == {"x-wsse"}
    assert injected.secret_headers == {"x-wsse"}


@pytest.mark.parametrize("fields", [{}, {"signature": {"protocol": "RSA"}}])
async def test_other_protocol_is_not_available(tokens: TokenClient, fields: Any) -> None:
    given = parse_credentials({"type": "SIGNATURE", "username": "ada", "password": "p"})
    with pytest.raises(TokenError) as raised:
        await tokens.obtain(target(provider("SIGNATURE", **fields)), given)
    assert raised.value.code == "incomplete_provider"


# Apps.


class AppApi:
    """Gives tokens to installations of an app that shows who it is."""

    def __init__(self, server: HTTPServer, app_id: str, public_key: RSAKey) -> None:
        self.url = server.url_for("").rstrip("/")
        self.app_id, self.key = app_id, public_key
        server.expect_request(
            "/app/installations/4711/access_tokens", method="POST"
        ).respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        try:
            claims = jwt.decode(token, self.key, algorithms=["RS256"]).claims
            jwt.JWTClaimsRegistry(
                iss={"essential": True, "value": self.app_id}, exp={"essential": True}
            ).validate(claims)
        except JoseError:
            return Response('{"message": "A JSON web token could not be decoded"}', 401)
        if claims["exp"] - claims["iat"] > 600:
            return Response('{"message": "exp is too far in the future"}', 401)
        body = {"token": "ghs_1", "expires_at": "2031-01-01T00:00:00Z", "permissions": {}}
        return Response(json.dumps(body), 201, content_type="application/json")


APP_URL = (
    "${connectionConfig.api}/app/installations/${connectionConfig.installation_id}/access_tokens"
)


async def test_app_gets_a_token_of_its_installation(
    tokens: TokenClient, httpserver: HTTPServer, rsa_key: rsa.RSAPrivateKey
) -> None:
    api = AppApi(httpserver, "12", RSAKey.import_key(public_pem(rsa_key)))
    entry = provider("APP", token_url=APP_URL)
    pem = private_pem(rsa_key, pkcs1=True)
    given = parse_credentials({"type": "APP", "installation_id": 4711})
    for client in (
        ClientCredentials(app_id="12", private_key=pem),
        ClientCredentials(app_id="12", private_key=base64.b64encode(pem.encode()).decode()),
    ):
        obtained = await tokens.obtain(target(entry, client, api=api.url), given)
        assert access_token_of(obtained) == "ghs_1"
        assert expires_at_of(obtained) == datetime(2031, 1, 1, tzinfo=UTC)
        assert reveal_credentials(obtained)["installation_id"] == "4711"
    again = await tokens.refresh(target(entry, client, api=api.url), obtained)
    assert access_token_of(again) == "ghs_1"
    assert inject(entry, again, template_variables(again, {})).headers == {
        "authorization": "Bearer ghs_1"
    }


async def test_another_apps_key_is_refused_for_good(
    tokens: TokenClient, httpserver: HTTPServer, rsa_key: rsa.RSAPrivateKey
) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    api = AppApi(httpserver, "12", RSAKey.import_key(public_pem(rsa_key)))
    entry = provider("APP", token_url=APP_URL)
    client = ClientCredentials(app_id="12", private_key=private_pem(stranger))
    given = parse_credentials({"type": "APP", "installation_id": "4711"})
    with pytest.raises(TokenError, match="could not be decoded") as raised:
        await tokens.obtain(target(entry, client, api=api.url), given)
    assert raised.value.lasting


async def test_app_without_key_is_said(tokens: TokenClient) -> None:
    given = parse_credentials({"type": "APP", "installation_id": "4711"})
    entry = provider("APP", token_url=APP_URL)
    with pytest.raises(TokenError) as raised:
        await tokens.obtain(target(entry, ClientCredentials(app_id="12")), given)
    assert raised.value.code == "missing_client"
