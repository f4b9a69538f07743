"""Calls of providers through `/proxy`: what goes out, what comes back, what is refused."""

from __future__ import annotations

import gzip
import hashlib
from contextlib import suppress

import httpx
import pytest

from tests.api.calls import error_of
from tests.support.events import every_event
from tests.support.proxy_calls import answering, upstream
from tests.support.stack import Stack
from tests.support.upstream import OK, Asked, Upstream, ok

# What goes out, what comes back


async def test_request_goes_out_as_it_was_written_with_credentials(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async with upstream(environment, ok) as provider:
        answer = await caller.get(
            "/proxy/repos/a%2Fb/c%20d?x=%20y&x=2&z",
            headers={
                "nango-proxy-x-mine": "1",
                "Nango-Proxy-Accept": "a/b",
                "nango-proxy-connection": "upgrade",
                "nango-proxy-host": "evil.test",
                "nango-activity-log-id": "7",
                "x-unrelated": "2",
                "cookie": "session=1",
            },
        )
    assert (answer.status_code, answer.text) == (200, "ok")
    (asked,) = provider.asked
    assert asked.line == "GET /repos/a%2Fb/c%20d?x=%20y&x=2&z HTTP/1.1"
    assert asked.headers["authorization"] == "Bearer key-of-acme"
    assert asked.headers["x-mine"] == "1"
    assert asked.headers["accept"] == "a/b"
    assert asked.headers["host"] == provider.url.removeprefix("http://")
    left_behind = {"connection-id", "provider-config-key", "x-unrelated", "cookie", "connection"}
    assert not left_behind & asked.headers.keys()
    assert not any(name.startswith("nango") for name in asked.headers)


async def test_absolute_endpoint_below_the_base_url_is_taken(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async with upstream(environment, ok) as provider:
        answer = await caller.get(f"/proxy/{provider.url}/x?y=1")
        assert answer.status_code == 200
        assert provider.asked[0].line == "GET /x?y=1 HTTP/1.1"
        elsewhere = await caller.get("/proxy/https://elsewhere.test/x")
    assert error_of(elsewhere) == (400, "invalid_url")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_every_method_passes(
    caller: httpx.AsyncClient, environment: Stack, method: str
) -> None:
    async with upstream(environment, ok) as provider:
        answer = await caller.request(method, "/proxy/x")
    assert answer.status_code == 200
    assert answer.text == ("" if method == "HEAD" else "ok")
    assert provider.asked[0].line == f"{method} /x HTTP/1.1"


async def test_answer_comes_back_as_it_is_without_what_ends_at_a_proxy(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    told = (
        b"HTTP/1.1 418 Teapot\r\nContent-Type: text/x\r\nX-Rate-Limit: 5\r\nSet-Cookie: a=1\r\n"
        b"Set-Cookie: b=2\r\nX-Request-Id: theirs\r\nAccess-Control-Allow-Origin: *\r\n"
        b"Keep-Alive: 5\r\nX-Hop: 1\r\nConnection: close, X-Hop\r\nDate: yesterday\r\n"
        b"Content-Length: 5\r\n\r\nshort"
    )
    async with upstream(environment, answering(told)):
        answer = await caller.get("/proxy/x")
    assert (answer.status_code, answer.text) == (418, "short")
    assert answer.headers["x-rate-limit"] == "5"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["x-request-id"] == "theirs"
    assert "yesterday" not in answer.headers.get_list("date")
    dropped = {"access-control-allow-origin", "keep-alive", "x-hop", "connection"}
    assert not dropped & answer.headers.keys()


@pytest.mark.parametrize("status", [204, 304])
async def test_answer_without_a_body_passes(
    caller: httpx.AsyncClient, environment: Stack, status: int
) -> None:
    told = b"HTTP/1.1 %d Fine\r\nETag: x\r\n\r\n" % status
    async with upstream(environment, answering(told)):
        answer = await caller.delete("/proxy/x")
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (status, b"", "x")


async def test_bodies_pass_byte_by_byte(caller: httpx.AsyncClient, environment: Stack) -> None:
    bodies: list[bytes] = []

    async def keep(asked: Asked) -> None:
        bodies.append(await asked.whole_body())
        await asked.answer(OK)

    sent = gzip.compress(b"{}")
    async with upstream(environment, keep) as provider:
        await caller.post(
            "/proxy/x",
            content=sent,
            headers={"content-type": "application/json", "content-encoding": "gzip"},
        )
        await caller.post("/proxy/x", files={"file": ("a.bin", bytes(range(256)))})
        await caller.post("/proxy/x", data={"a": "1 2"})
        await caller.post(
            "/proxy/x", content=b"<a/>", headers={"nango-proxy-content-type": "text/xml"}
        )
    assert bodies[0] == sent
    assert provider.asked[0].headers["content-encoding"] == "gzip"
    assert bytes(range(256)) in bodies[1]
    assert provider.asked[1].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert bodies[2] == b"a=1+2"
    assert provider.asked[3].headers["content-type"] == "text/xml"


# Retries


def busy(status: int = 503, wait: bytes = b"0.01") -> bytes:
    return b"HTTP/1.1 %d Busy\r\nRetry-After: %b\r\nContent-Length: 4\r\n\r\nbusy" % (status, wait)


async def test_failure_is_passed_on_where_nobody_asks_for_retries(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async with upstream(environment, answering(busy())) as provider:
        answer = await caller.get("/proxy/x")
    assert (answer.status_code, answer.text) == (503, "busy")
    assert len(provider.asked) == 1


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
async def test_failure_is_repeated_with_the_same_body(
    caller: httpx.AsyncClient, environment: Stack, size: int
) -> None:
    bodies: list[bytes] = []

    async def third_time(asked: Asked) -> None:
        bodies.append(hashlib.sha256(await asked.whole_body()).digest())
        await asked.answer(busy() if len(bodies) < 3 else OK)

    async with upstream(environment, third_time):
        answer = await caller.post("/proxy/x", content=b"x" * size, headers={"retries": "2"})
    assert (answer.status_code, answer.text) == (200, "ok")
    assert bodies == [hashlib.sha256(b"x" * size).digest()] * 3


async def test_last_failure_is_the_answer(caller: httpx.AsyncClient, environment: Stack) -> None:
    async with upstream(environment, answering(busy(429), busy(503), busy(500))) as provider:
        answer = await caller.get("/proxy/x", headers={"retries": "2"})
    assert answer.status_code == 500
    assert len(provider.asked) == 3


@pytest.mark.parametrize(("retry_on", "times"), [("", 1), ("418, 409", 2)])
async def test_statuses_can_be_named(
    caller: httpx.AsyncClient, environment: Stack, retry_on: str, times: int
) -> None:
    async with upstream(environment, answering(busy(409, b"0.01"), OK)) as provider:
        told = b"HTTP/1.1 409 No\r\nContent-Length: 0\r\n\r\n"
        provider.handle = answering(told, OK)
        await caller.get("/proxy/x", headers={"retries": "1", "retry-on": retry_on})
    assert len(provider.asked) == times


async def test_wait_that_is_too_long_is_left_to_the_caller(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async with upstream(environment, answering(busy(429, b"3600"), OK)) as provider:
        answer = await caller.get("/proxy/x", headers={"retries": "2"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3600")
    assert len(provider.asked) == 1


async def test_connection_that_breaks_is_tried_again(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async def second_time(asked: Asked) -> None:
        if len(provider.asked) > 1:
            await asked.answer(OK)

    async with upstream(environment, second_time) as provider:
        answer = await caller.get("/proxy/x", headers={"retries": "1"})
    assert answer.status_code == 200


async def test_refused_credentials_are_read_anew(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async def by_key(asked: Asked) -> None:
        body = await asked.whole_body()
        fits = asked.headers["authorization"] == "Bearer new"
        status = b"200 OK" if fits and body == b"mine" else b"401 No"
        await asked.answer(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    async with upstream(environment, by_key, api_key="old") as provider:
        first = await caller.post("/proxy/x", content=b"mine")
        await environment.connect(provider.url, api_key="new")
        second = await caller.post("/proxy/x", content=b"mine")
    assert (first.status_code, second.status_code) == (401, 200)
    assert len(provider.asked) == 3


# Options


async def test_base_url_can_be_another_one(caller: httpx.AsyncClient, environment: Stack) -> None:
    async with upstream(environment, ok) as provider, Upstream(ok).serving() as other:
        await caller.get("/proxy/x", headers={"base-url-override": f"{other.url}/v2"})
    assert not provider.asked
    assert other.asked[0].line == "GET /v2/x HTTP/1.1"
    assert other.asked[0].headers["authorization"] == "Bearer key-of-acme"


async def test_empty_header_counts_as_not_sent(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    names = ("base-url-override", "decompress", "forward-headers-on-redirect", "retries")
    unset = dict.fromkeys((*names, "retry-on", "nango-activity-log-id"), "")
    async with upstream(environment, ok) as provider:
        answer = await caller.get("/proxy/x", headers=unset)

    assert answer.status_code == 200
    assert provider.asked[0].line == "GET /x HTTP/1.1"


@pytest.mark.parametrize("decompress", ["false", "true"])
async def test_compressed_answer_is_decompressed_where_that_is_asked_for(
    caller: httpx.AsyncClient, environment: Stack, decompress: str
) -> None:
    packed = gzip.compress(b"plain" * 1000)
    told = (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    ) + packed
    async with (
        upstream(environment, answering(told)) as provider,
        caller.stream("GET", "/proxy/x", headers={"decompress": decompress}) as answer,
    ):
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    if decompress == "true":
        assert raw == b"plain" * 1000
        assert "content-encoding" not in answer.headers
    else:
        assert raw == packed
        assert answer.headers["content-encoding"] == "gzip"
    assert "gzip" in provider.asked[0].headers["accept-encoding"]


async def test_caller_that_reads_no_compression_gets_none(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async with upstream(environment, ok) as provider:
        await caller.get("/proxy/x", headers={"accept-encoding": "identity"})
    assert provider.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("forward", [False, True])
async def test_credentials_follow_a_redirect_only_where_that_is_asked_for(
    caller: httpx.AsyncClient, environment: Stack, forward: bool
) -> None:
    async with Upstream(ok).serving() as other:
        to = b"HTTP/1.1 302 Go\r\nContent-Length: 0\r\nLocation: %b/y\r\n\r\n" % other.url.encode()
        async with upstream(environment, answering(to)):
            answer = await caller.get(
                "/proxy/x",
                headers={
                    "forward-headers-on-redirect": str(forward).lower(),
                    "nango-proxy-x-shop": "k",
                },
            )
    assert answer.text == "ok"
    arrived = {"authorization", "x-shop"} & other.asked[0].headers.keys()
    assert arrived == ({"authorization", "x-shop"} if forward else set())


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (3_000_000, 307)])
async def test_redirect_repeats_a_body_that_is_still_there(
    caller: httpx.AsyncClient, environment: Stack, size: int, status: int
) -> None:
    body = b""

    async def lead_on(asked: Asked) -> None:
        nonlocal body
        body = await asked.whole_body()
        to = b"HTTP/1.1 307 Go\r\nContent-Length: 0\r\nLocation: /y\r\n\r\n"
        await asked.answer(OK if " /y " in asked.line else to)

    async with upstream(environment, lead_on):
        answer = await caller.put("/proxy/x", content=b"x" * size)
    assert answer.status_code == status
    assert len(body) == size


# Errors of our own


async def test_call_must_say_for_whom(caller: httpx.AsyncClient, environment: Stack) -> None:
    del caller.headers["connection-id"]
    answer = await caller.get("/proxy/x")
    assert error_of(answer) == (400, "invalid_headers")
    assert answer.json()["error"]["errors"][0]["path"] == ["connection-id"]


@pytest.mark.parametrize(
    "headers", [{"retries": "many"}, {"retries": "-1"}, {"retry-on": "5xx"}, {"decompress": "?"}]
)
async def test_options_are_checked(
    caller: httpx.AsyncClient, environment: Stack, headers: dict[str, str]
) -> None:
    async with upstream(environment, ok) as provider:
        answer = await caller.get("/proxy/x", headers=headers)
    assert error_of(answer) == (400, "invalid_headers")
    assert not provider.asked


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"connection-id": "nobody"}, "unknown_connection"),
        ({"provider-config-key": "nothing"}, "unknown_provider_config"),
    ],
)
async def test_connection_must_exist(
    caller: httpx.AsyncClient, environment: Stack, headers: dict[str, str], code: str
) -> None:
    async with upstream(environment, ok):
        answer = await caller.post("/proxy/x", content=b"x", headers=headers)
    assert error_of(answer) == (400, code)


async def test_call_needs_a_key(caller: httpx.AsyncClient, environment: Stack) -> None:
    del caller.headers["authorization"]
    assert error_of(await caller.get("/proxy/x")) == (401, "missing_auth_header")


async def test_provider_that_cannot_be_reached_is_told(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async with upstream(environment, ok):
        pass
    answer = await caller.get("/proxy/x")
    assert error_of(answer) == (424, "script_network_error")


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "[::ffff:169.254.169.254]"])
async def test_metadata_cannot_be_reached(
    caller: httpx.AsyncClient, environment: Stack, host: str
) -> None:
    async with upstream(environment, ok):
        answer = await caller.get("/proxy/x", headers={"base-url-override": f"http://{host}"})
    status, code = error_of(answer)
    assert (status, code in {"url_not_allowed", "invalid_url"}) == (400, True)


# Keys


async def scoped(caller: httpx.AsyncClient, *scopes: str) -> dict[str, str]:
    key = {"name": " ".join(scopes), "scopes": list(scopes)}
    answer = await caller.post("/environment/api-keys", json=key)
    assert answer.status_code in {200, 201}, answer.text
    return {"authorization": f"Bearer {answer.json()['api_key']}"}


async def test_key_needs_the_scope(caller: httpx.AsyncClient, environment: Stack) -> None:
    fits = await scoped(caller, "environment:proxy")
    other = await scoped(caller, "environment:records:read")
    async with upstream(environment, ok) as provider:
        assert (await caller.get("/proxy/x", headers=fits)).status_code == 200
        assert error_of(await caller.get("/proxy/x", headers=other)) == (403, "forbidden")
    assert len(provider.asked) == 1


async def test_key_that_may_not_read_credentials_cannot_have_them_sent_elsewhere(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    blind = await scoped(caller, "environment:proxy")
    seeing = await scoped(caller, "environment:proxy", "environment:connections:read_credentials")
    async with upstream(environment, ok), Upstream(ok).serving() as other:
        elsewhere = {"base-url-override": other.url}
        refused = await caller.get("/proxy/x", headers=blind | elsewhere)
        assert error_of(refused) == (403, "forbidden")
        assert not other.asked
        assert (await caller.get("/proxy/x", headers=seeing | elsewhere)).status_code == 200
        following = {"forward-headers-on-redirect": "true"}
        refused = await caller.get("/proxy/x", headers=blind | following)
        assert error_of(refused) == (403, "forbidden")
        assert (await caller.get("/proxy/x", headers=seeing | following)).status_code == 200


# Secrets


async def test_nothing_secret_is_logged_or_told(
    caller: httpx.AsyncClient, environment: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-very-secret-4711"

    async def misbehave(asked: Asked) -> None:
        await asked.whole_body()
        answers = {
            "/broken": b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
            "/nonsense": b"not HTTP: " + asked.headers["authorization"].encode() + b"\r\n\r\n",
            "/loop": b"HTTP/1.1 302 Go\r\nContent-Length: 0\r\nLocation: /loop?k=%b\r\n\r\n"
            % key.encode(),
            "/away": b"HTTP/1.1 302 Go\r\nContent-Length: 0\r\nLocation: ftp://%b\r\n\r\n"
            % key.encode(),
        }
        path = asked.line.split(" ")[1].partition("?")[0]
        await asked.answer(answers.get(path, OK))

    caplog.set_level("DEBUG")
    told = ""
    with every_event() as events:
        async with upstream(environment, misbehave, api_key=key):
            for path in ("broken", "nonsense", "loop", "away", f"with/{key}", "bad%0d%0a"):
                with suppress(httpx.RemoteProtocolError):
                    answer = await caller.get(f"/proxy/{path}?token={key}")
                    told += answer.text + str(answer.headers)
            answer = await caller.get(
                "/proxy/x", headers={"base-url-override": f"http://u:{key}@h"}
            )
            told += answer.text
        answer = await caller.get(f"/proxy/gone/{key}?token={key}")
        told += answer.text
    assert any(event["event"] == "proxied" for event in events)
    # Those are kept from telling that much; see `perdure.observability.logging`.
    chatty = ("aiohttp", "httpx", "httpcore", "uvicorn.access")
    ours = [record for record in caplog.records if not record.name.startswith(chatty)]
    assert key not in told
    assert key not in repr(events)
    assert key not in repr([(record.getMessage(), record.exc_text) for record in ours])
