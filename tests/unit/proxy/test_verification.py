"""Whether credentials are good, asked of real servers."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from perdure.connections.credentials import ApiKeyCredentials
from perdure.connections.interpolation import TemplateVariables
from perdure.errors import InvalidInputError, UpstreamError
from perdure.providers.provider import Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.providers.proxy import Verification
from perdure.proxy.client import ProxyClient
from perdure.proxy.requests import HttpRequest, HttpResponse
from perdure.proxy.verification import Send, Verdict, VerdictKind, verify

VARIABLES = TemplateVariables(
    connection_config={"realm": "r1"}, credentials={"username": "ada", "apiKey": "k"}
)


@pytest.fixture
def send(
    client: ProxyClient,
    provider: Provider,
    credentials: ApiKeyCredentials,
    httpserver: HTTPServer,
) -> Send:
    config = {"baseUrl": httpserver.url_for("").rstrip("/")}

    async def make(request: HttpRequest) -> HttpResponse:
        return await client.send(
            request, provider=provider, credentials=credentials, connection_config=config
        )

    return make


async def ask(send: Send, *endpoints: str, **stated: Any) -> Verdict:
    verification = Verification.model_validate({"endpoints": list(endpoints), **stated})
    return await verify(verification, VARIABLES, send)


def answers(server: HTTPServer, **statuses: int) -> None:
    for name, status in statuses.items():
        server.expect_request(f"/{name}").respond_with_json({"at": name}, status=status)


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((200,), VerdictKind.GOOD),
        ((401,), VerdictKind.REFUSED),
        ((403,), VerdictKind.REFUSED),
        ((403, 200), VerdictKind.GOOD),
        ((401, 403), VerdictKind.REFUSED),
        ((500,), VerdictKind.UNKNOWN),
        ((429,), VerdictKind.UNKNOWN),
        ((404, 200), VerdictKind.GOOD),
        ((403, 503), VerdictKind.UNKNOWN),
        ((), VerdictKind.UNKNOWN),
    ],
)
async def test_only_a_clear_refusal_counts(
    httpserver: HTTPServer, send: Send, statuses: tuple[int, ...], kind: VerdictKind
) -> None:
    names = [f"try{number}" for number in range(len(statuses))]
    answers(httpserver, **dict(zip(names, statuses, strict=True)))

    verdict = await ask(send, *(f"/{name}" for name in names))

    assert verdict.kind is kind
    if kind is VerdictKind.REFUSED:
        assert isinstance(verdict.error, UpstreamError)
        assert verdict.error.status == statuses[0]


async def test_server_that_is_away_says_nothing_about_credentials(
    client: ProxyClient, provider: Provider, credentials: ApiKeyCredentials
) -> None:
    async def make(request: HttpRequest) -> HttpResponse:
        config = {"baseUrl": "http://127.0.0.1:9"}
        return await client.send(
            request, provider=provider, credentials=credentials, connection_config=config
        )

    assert (await ask(make, "/me")).kind is VerdictKind.UNKNOWN


async def test_failure_that_is_answered_with_200_is_a_refusal(
    httpserver: HTTPServer, send: Send
) -> None:
    httpserver.expect_request("/auth.test").respond_with_json(
        {"ok": False, "error": "invalid_auth"}
    )
    httpserver.expect_request("/good").respond_with_json({"ok": True})

    refused = await ask(send, "/auth.test", ok_path="ok")

    assert refused.kind is VerdictKind.REFUSED
    assert refused.error is not None
    assert "invalid_auth" in refused.error.message
    assert (await ask(send, "/good", ok_path="ok")).kind is VerdictKind.GOOD


async def test_everything_that_is_sent_is_a_template(httpserver: HTTPServer, send: Send) -> None:
    seen: list[Request] = []

    def handle(request: Request) -> Response:
        seen.append(request)
        return Response("{}", content_type="application/json")

    httpserver.expect_request("/base/of/r1/ada").respond_with_handler(handle)

    verdict = await ask(
        send,
        "/of/${connectionConfig.realm}/${username}",
        method="POST",
        headers={"X-User": "${username}", "X-None": "${connectionConfig.none}"},
        data={"user": "${username}", "deep": {"n": 1}},
        base_url_override=httpserver.url_for("/base"),
    )

    assert verdict.kind is VerdictKind.GOOD
    assert seen[0].headers["x-user"] == "ada"
    assert "x-none" not in seen[0].headers
    assert seen[0].get_json() == {"user": "ada", "deep": {"n": 1}}


async def test_request_that_lacks_a_parameter_is_not_made(send: Send) -> None:
    verdict = await ask(send, "/of/${connectionConfig.none}")

    assert verdict.kind is VerdictKind.UNKNOWN
    assert isinstance(verdict.error, InvalidInputError)


async def test_entry_without_a_request_leaves_it_open(send: Send) -> None:
    assert await verify(None, VARIABLES, send) == Verdict(VerdictKind.UNKNOWN)


async def test_refusal_does_not_quote_the_key(
    httpserver: HTTPServer, send: Send, credentials: ApiKeyCredentials
) -> None:
    key = credentials.api_key.get_secret_value()
    httpserver.expect_request("/me").respond_with_data(f"bad key {key}", status=401)

    verdict = await ask(send, "/me")

    assert verdict.error is not None
    assert key not in verdict.error.message


def test_slack_says_in_the_body_whether_a_token_is_good(catalog: ProviderCatalog) -> None:
    for name in ("slack", "slack-api-key"):
        verification = catalog.get(name).proxy.verification
        assert verification is not None
        assert verification.ok_path == "ok"
