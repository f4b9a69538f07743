import asyncio
import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from perdure.connections.credentials import (
    ApiKeyCredentials,
    BasicCredentials,
    NoCredentials,
)
from perdure.errors import InvalidInputError, UpstreamError
from perdure.providers.provider import Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.proxy.client import ProxyClient
from perdure.proxy.pagination import PageState
from perdure.proxy.requests import HttpRequest, HttpResponse, merge_paginate
from perdure.proxy.transport import HttpTransport

from .conftest import API_KEY, RawServer


class Connected:
    """A client with the connection that every test uses."""

    def __init__(self, client: ProxyClient, provider: Provider, base_url: str) -> None:
        self._client = client
        self._connection: dict[str, Any] = {
            "provider": provider,
            "credentials": ApiKeyCredentials(api_key=SecretStr(API_KEY)),
            "connection_config": {"baseUrl": base_url},
        }

    async def send(self, method: str = "GET", endpoint: str = "/x", **fields: Any) -> HttpResponse:
        request = HttpRequest.model_validate({"method": method, "endpoint": endpoint, **fields})
        return await self._client.send(request, **self._connection)

    async def error(
        self, method: str = "GET", endpoint: str = "/x", **fields: Any
    ) -> UpstreamError:
        with pytest.raises(UpstreamError) as raised:
            await self.send(method, endpoint, **fields)
        return raised.value

    async def pages(self, request: HttpRequest, **paginate: Any) -> list[list[Any]]:
        read: list[list[Any]] = []
        options = merge_paginate(None, paginate)
        state: PageState | None = PageState()
        while state is not None:
            page = await self._client.fetch_page(request, options, state, **self._connection)
            state = page.next
            if page.deliver:
                read.append(page.items)
        return read


@pytest.fixture
def api(client: ProxyClient, provider: Provider, httpserver: HTTPServer) -> Connected:
    return Connected(client, provider, httpserver.url_for(""))


def answers(server: HTTPServer, *responses: Response, path: str = "/x") -> list[Request]:
    seen: list[Request] = []
    left = list(responses)

    def handle(request: Request) -> Response:
        request.get_data()
        seen.append(request)
        return left.pop(0) if len(left) > 1 else left[0]

    server.expect_request(path).respond_with_handler(handle)
    return seen


def as_json(text: str, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(text, status, headers=named, content_type="application/json")


async def test_answer_comes_decoded_with_status_and_headers(
    api: Connected, httpserver: HTTPServer
) -> None:
    seen = answers(httpserver, as_json('{"a": [1, "\\u00fc"]}', 201, X_Page="7"))
    response = await api.send(params={"q": ["a", "b"]})
    assert (response.status, response.data) == (201, {"a": [1, "ü"]})
    assert response.headers["x-page"] == "7"
    (request,) = seen
    assert request.query_string == b"q=a&q=b"
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    assert request.headers["user-agent"].startswith("perdure/")
    assert "json" in request.headers["accept"]
    assert "content-type" not in request.headers


async def test_headers_of_the_script_win(api: Connected, httpserver: HTTPServer) -> None:
    seen = answers(httpserver, as_json("{}"))
    await api.send(headers={"Authorization": "Other", "User-Agent": "mine", "X-A": "b"})
    sent = seen[0].headers
    assert (sent["authorization"], sent["user-agent"], sent["x-a"]) == ("Other", "mine", "b")


async def test_body_is_sent_as_its_content_type_says(
    api: Connected, httpserver: HTTPServer
) -> None:
    seen = answers(httpserver, as_json("{}"))
    await api.send("POST", data={"a": {"b": 1}})
    await api.send(
        "PUT",
        data={"a": {"b": 1}},
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    await api.send("DELETE")
    assert seen[0].get_json() == {"a": {"b": 1}}
    assert seen[1].form.to_dict() == {"a[b]": "1"}
    assert seen[2].get_data() == b""


async def test_bytes_come_as_base64(api: Connected, httpserver: HTTPServer) -> None:
    answers(httpserver, Response(b"\x00\xff", content_type="application/pdf"))
    assert (await api.send(response_type="arraybuffer")).content() == b"\x00\xff"
    assert (await api.send()).is_base64


async def test_query_of_the_provider_is_added_once(
    client: ProxyClient, httpserver: HTTPServer
) -> None:
    entry = Provider.model_validate(
        {
            "name": "acme",
            "display_name": "Acme",
            "auth_mode": "API_KEY",
            "proxy": {
                "base_url": "${connectionConfig.baseUrl}",
                "query": {"key": "${apiKey}", "v": "3"},
            },
        }
    )
    api = Connected(client, entry, httpserver.url_for(""))
    seen = answers(httpserver, as_json("{}"))
    await api.send(params={"v": 4})
    assert seen[0].args.to_dict() == {"v": "4", "key": API_KEY}


async def test_base_url_override_gets_the_credentials(
    api: Connected, other_server: HTTPServer
) -> None:
    seen = answers(other_server, as_json("{}"))
    await api.send(base_url_override=other_server.url_for(""))
    assert seen[0].headers["authorization"] == f"Bearer {API_KEY}"


# Failures


async def test_refusal_tells_what_happened_without_the_secret(
    api: Connected, httpserver: HTTPServer
) -> None:
    body = f'{{"error": {{"message": "No such\\n  thing for {API_KEY}"}}}}'
    answers(httpserver, as_json(body, 404, Set_Cookie="s=1", X_Request_Id="r1"))
    error = await api.error(params={"page": 2, "api_key": "hidden-value"})
    assert error.code == "script_http_error"
    assert error.status == 404
    assert error.body == {"error": {"message": "No such\n  thing for ***"}}
    assert error.headers["x-request-id"] == "r1"
    assert error.headers["set-cookie"] == "***"
    assert not error.retryable
    assert error.payload == {"retry_reason": "lasting"}
    url = f"{httpserver.url_for('/x')}?page=2&api_key=***"
    assert error.message == (
        f'GET {url} answered 404: {{"error": {{"message": "No such\\n thing for ***"}}}}'
    )
    assert API_KEY not in repr(vars(error))


async def test_rate_limit_says_how_long_to_wait(
    transport: HttpTransport, catalog: ProviderCatalog, httpserver: HTTPServer
) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    reset = str(int(now.timestamp()) + 600)
    answers(
        httpserver,
        as_json("{}", 403, x_ratelimit_remaining="0", x_ratelimit_reset=reset),
        as_json("{}", 403, x_ratelimit_remaining="4000", x_ratelimit_reset=reset),
        as_json("{}", 403, x_ratelimit_remaining="4000", x_ratelimit_reset=reset, retry_after="60"),
        as_json("{}", 429, x_ratelimit_remaining="10", x_ratelimit_reset=reset, retry_after="60"),
    )
    api = Connected(ProxyClient(transport, clock=lambda: now), catalog.get("github-pat"), "")
    there = httpserver.url_for("")
    errors = [await api.error(base_url_override=there) for _ in range(4)]
    assert [(e.retryable, e.retry_after) for e in errors] == [
        (True, 600.0),
        (False, None),
        (True, 60.0),
        (True, 60.0),
    ]


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_transient_failure_of_a_read_can_be_repeated_but_not_of_a_write(
    api: Connected, httpserver: HTTPServer, status: int
) -> None:
    answers(httpserver, Response("<h1>down</h1>", status))
    error = await api.error()
    assert (error.retryable, error.retry_after, error.body) == (True, None, "<h1>down</h1>")
    assert not (await api.error("POST", data={})).retryable
    assert (await api.error("POST", data={}, retries=2)).retryable


async def test_large_error_page_is_cut(api: Connected, httpserver: HTTPServer) -> None:
    answers(httpserver, as_json('["' + "x" * 100_000 + '"]', 400))
    error = await api.error()
    assert isinstance(error.body, str)
    assert len(error.body) < 40_000
    assert len(error.message) < 600


async def test_error_body_in_another_encoding_is_read(
    api: Connected, httpserver: HTTPServer
) -> None:
    content = '{"m": "Zürich"}'.encode("latin-1")
    content_type = "application/json; charset=iso-8859-1"
    answers(httpserver, Response(content, 400, content_type=content_type))
    assert (await api.error()).body == {"m": "Zürich"}


async def test_no_answer_is_a_network_error(
    client: ProxyClient, provider: Provider, raw_server: RawServer
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with raw_server(handle) as url:
        api = Connected(client, provider, url)
        read = await api.error(params={"token": "hidden-value"})
        written = await api.error("POST", data={})
    unreachable = await api.error("POST", data={})
    for error in (read, written, unreachable):
        assert error.code == "script_network_error"
        assert error.status is None
    assert "hidden-value" not in read.message
    assert [e.retryable for e in (read, written, unreachable)] == [True, False, True]


async def test_too_many_redirects_have_their_own_code(
    api: Connected, httpserver: HTTPServer
) -> None:
    answers(httpserver, Response(status=302, headers={"location": "/x"}))
    error = await api.error()
    assert error.code == "too_many_redirects"
    assert not error.retryable


async def test_credentials_do_not_follow_a_redirect_to_another_origin(
    api: Connected, httpserver: HTTPServer, other_server: HTTPServer
) -> None:
    answers(httpserver, Response(status=307, headers={"location": other_server.url_for("/x")}))
    seen = answers(other_server, as_json("{}"))
    await api.send()
    await api.send(forward_headers_on_redirect=True)
    assert "authorization" not in seen[0].headers
    assert seen[1].headers["authorization"] == f"Bearer {API_KEY}"


async def test_connection_without_what_the_provider_needs_is_refused(
    client: ProxyClient, provider: Provider, credentials: ApiKeyCredentials
) -> None:
    with pytest.raises(InvalidInputError, match="baseUrl"):
        await client.send(
            HttpRequest(endpoint="/x"),
            provider=provider,
            credentials=credentials,
            connection_config={},
        )


async def test_basic_credentials_are_sent(
    client: ProxyClient, catalog: ProviderCatalog, httpserver: HTTPServer
) -> None:
    seen = answers(httpserver, as_json("{}"))
    await client.send(
        HttpRequest(endpoint="/x"),
        provider=catalog.get("generic-basic"),
        credentials=BasicCredentials(username="ada", password=SecretStr("pw")),
        connection_config={"baseUrl": httpserver.url_for("")},
    )
    authorization = seen[0].authorization
    assert authorization is not None
    assert (authorization.username, authorization.password) == ("ada", "pw")


# Pages


async def test_pages_are_read_to_the_end(api: Connected, httpserver: HTTPServer) -> None:
    seen = answers(
        httpserver,
        as_json('{"items": [1, 2], "next": "c2"}'),
        as_json('{"items": [3], "next": "c3"}'),
        as_json('{"items": []}'),
    )
    pages = await api.pages(
        HttpRequest(endpoint="/x", params={"q": "a"}),
        type="cursor",
        cursor_name_in_request="after",
        cursor_path_in_response="next",
        response_path="items",
    )
    assert pages == [[1, 2], [3]]
    assert [request.args.get("after") for request in seen] == [None, "c2", "c3"]


async def test_empty_pages_are_handed_out_for_links_only(
    api: Connected, httpserver: HTTPServer
) -> None:
    links = [f'<{httpserver.url_for("/x")}?page={n}>; rel="next"' for n in (2, 3)]
    seen = answers(
        httpserver, as_json("[1]", link=links[0]), as_json("[]", link=links[1]), as_json("[3]")
    )
    request = HttpRequest(endpoint="/x", params={"per": 1})
    pages = await api.pages(request, type="link", link_rel_in_response_header="next")
    assert pages == [[1], [], [3]]
    assert [request.query_string for request in seen] == [b"per=1", b"page=2", b"page=3"]
    assert all("authorization" in request.headers for request in seen)


async def test_link_to_another_origin_is_followed_without_credentials(
    api: Connected, httpserver: HTTPServer, other_server: HTTPServer
) -> None:
    link = f'<{other_server.url_for("/more")}?page=2>; rel="next"'
    answers(httpserver, as_json("[1]", link=link))
    seen = answers(other_server, as_json("[2]"), path="/more")
    request = HttpRequest(endpoint="/x", headers={"x-api-key": "k", "x-shop": "k", "accept": "a/b"})
    pages = await api.pages(request, type="link", link_rel_in_response_header="next")
    assert pages == [[1], [2]]
    assert "authorization" not in seen[0].headers
    assert not {"x-api-key", "x-shop"} & {name.lower() for name, _ in seen[0].headers}
    assert seen[0].headers["accept"] == "a/b"


async def test_key_in_the_link_of_a_page_does_not_stay_in_the_state(
    client: ProxyClient, httpserver: HTTPServer
) -> None:
    entry = Provider.model_validate(
        {
            "name": "acme",
            "display_name": "Acme",
            "auth_mode": "API_KEY",
            "proxy": {"base_url": httpserver.url_for(""), "query": {"key": "${apiKey}"}},
        }
    )
    link = f'<{httpserver.url_for("/x")}?key={API_KEY}&page=2>; rel="next"'
    seen = answers(httpserver, as_json("[1]", link=link))
    options = merge_paginate(None, {"type": "link", "link_rel_in_response_header": "next"})
    connection: dict[str, Any] = {
        "provider": entry,
        "credentials": ApiKeyCredentials(api_key=SecretStr(API_KEY)),
        "connection_config": {},
    }
    first = await client.fetch_page(HttpRequest(endpoint="/x"), options, **connection)
    assert first.next is not None
    assert API_KEY not in first.next.model_dump_json()
    second = await client.fetch_page(HttpRequest(endpoint="/x"), options, first.next, **connection)
    assert second.next is None
    assert seen[1].args.to_dict() == {"page": "2", "key": API_KEY}


@pytest.mark.parametrize(
    ("body", "by_orjson"),
    [('[{"id": 1}]', True), ("[]", True), ('[{"id": NaN}]', False), ('\ufeff[{"id": 1}]', False)],
)
async def test_page_says_whether_its_elements_are_as_orjson_reads_them(
    client: ProxyClient, httpserver: HTTPServer, body: str, by_orjson: bool
) -> None:
    entry = Provider.model_validate(
        {
            "name": "acme",
            "display_name": "Acme",
            "auth_mode": "NONE",
            "proxy": {"base_url": httpserver.url_for("")},
        }
    )
    answers(httpserver, as_json(body))
    options = merge_paginate(None, {"type": "offset", "offset_name_in_request": "o"})
    page = await client.fetch_page(
        HttpRequest(endpoint="/x"),
        options,
        provider=entry,
        credentials=NoCredentials(),
        connection_config={},
    )
    assert page.by_orjson is by_orjson


async def test_page_that_is_no_list_is_an_error(api: Connected, httpserver: HTTPServer) -> None:
    answers(httpserver, as_json('{"data": []}'))
    with pytest.raises(UpstreamError, match=r"response_path 'items'.*keys 'data'"):
        await api.pages(
            HttpRequest(endpoint="/x"),
            type="offset",
            offset_name_in_request="o",
            response_path="items",
        )


async def test_page_is_json_whatever_its_content_type(
    api: Connected, httpserver: HTTPServer
) -> None:
    answers(httpserver, Response("[1]", content_type="text/html"), Response(status=204))
    request = HttpRequest(endpoint="/x")
    assert await api.pages(request, type="offset", offset_name_in_request="o") == [[1]]


async def test_headers_of_an_entry_may_depend_on_the_request_and_its_moment(
    transport: HttpTransport, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/x").respond_with_json({})
    entry = Provider.model_validate(
        {
            "name": "acme",
            "display_name": "Acme",
            "auth_mode": "API_KEY",
            "proxy": {
                "base_url": httpserver.url_for(""),
                "headers": {"x-signed": "sha256(${method} ${path} ${now.seconds} ${apiKey})"},
            },
        }
    )
    now = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    await ProxyClient(transport, clock=lambda: now).send(
        HttpRequest(endpoint="/x?a=1"),
        provider=entry,
        credentials=ApiKeyCredentials(api_key=SecretStr(API_KEY)),
        connection_config={},
    )
    signed = f"GET /x {int(now.timestamp())} {API_KEY}"
    (request, _), *_ = httpserver.log
    assert request.headers["x-signed"] == hashlib.sha256(signed.encode()).hexdigest()
