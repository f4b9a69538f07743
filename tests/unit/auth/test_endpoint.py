import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from perdure.auth.answers import expiry, text_at
from perdure.auth.tokens import TokenClient, TokenError
from perdure.connections.credentials import OAuth2Credentials
from perdure.errors import UpstreamError
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport

from .conftest import provider, target

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
CREDENTIALS = OAuth2Credentials.model_validate(
    {"access_token": "old-access", "refresh_token": "old-refresh"}
)


async def refused(tokens: TokenClient, url: str) -> TokenError:
    with pytest.raises(TokenError) as raised:
        await tokens.refresh(target(provider("OAUTH2", token_url=url)), CREDENTIALS)
    return raised.value


@pytest.mark.parametrize(
    ("status", "body", "lasting", "error"),
    [
        (400, '{"error": "invalid_grant", "error_description": "revoked"}', True, "invalid_grant"),
        (401, '{"error": "invalid_client"}', True, "invalid_client"),
        (401, "", True, None),
        (403, "forbidden", True, None),
        (404, "<html>not here</html>", True, None),
        (500, '{"error": "invalid_grant"}', True, "invalid_grant"),
        (400, '{"error": "temporarily_unavailable"}', False, "temporarily_unavailable"),
        (408, "", False, None),
        (429, '{"message": "slow down"}', False, None),
        (500, "oops", False, None),
        (503, '{"error": {"code": 17, "message": "busy"}}', False, "17"),
        (200, '{"error": "bad_refresh_token"}', True, "bad_refresh_token"),
        (200, "error=bad_refresh_token&error_description=x", True, "bad_refresh_token"),
        (200, '{"ok": false, "error": "ratelimited"}', False, "ratelimited"),
        (200, "[]", True, None),
        (200, "", True, None),
        (204, "", True, None),
    ],
)
async def test_refusals_are_told_apart_by_whether_they_last(
    tokens: TokenClient,
    httpserver: HTTPServer,
    status: int,
    body: str,
    lasting: bool,
    error: str | None,
) -> None:
    httpserver.expect_request("/token").respond_with_data(body, status=status)
    found = await refused(tokens, httpserver.url_for("/token"))
    assert (found.lasting, found.error) == (lasting, error)
    assert found.retryable is not lasting
    assert isinstance(found, UpstreamError)
    assert found.code == ("token_refused" if lasting else "token_endpoint_unavailable")


async def test_what_is_told_of_a_refusal_holds_no_secret(
    tokens: TokenClient, httpserver: HTTPServer
) -> None:
    body = {
        "error": "invalid_grant",
        "error_description": "old-refresh of client-secret-1 and old-access is unknown",
    }
    httpserver.expect_request("/token").respond_with_json(
        body, status=400, headers={"x-echo": "old-refresh", "retry-after": "3"}
    )
    error = await refused(tokens, httpserver.url_for("/token"))
    told = f"{error!r}{error.message}{error.body}{error.headers}{error.payload}"
    for secret in ("old-refresh", "old-access", "client-secret-1"):
        assert secret not in told
    assert "is unknown" in error.message
    assert error.retry_after == 3.0


async def test_redirect_is_not_followed(
    tokens: TokenClient, httpserver: HTTPServer, transport: HttpTransport
) -> None:
    with HTTPServer(host="127.0.0.1", port=0) as elsewhere:
        elsewhere.expect_request("/token").respond_with_json({"access_token": "x"})
        httpserver.expect_request("/token").respond_with_data(
            "", status=307, headers={"location": elsewhere.url_for("/token")}
        )
        error = await refused(tokens, httpserver.url_for("/token"))
        assert not elsewhere.log
    assert error.lasting
    assert "redirect" in error.message


async def test_server_that_is_not_there_is_transient(tokens: TokenClient) -> None:
    async with refusing() as url:
        error = await refused(tokens, url)
    assert (error.lasting, error.code) == (False, "token_endpoint_unavailable")
    assert error.status is None


@asynccontextmanager
async def refusing() -> AsyncIterator[str]:
    """A server that hangs up without an answer."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_private_network_is_guarded(httpserver: HTTPServer) -> None:
    async with HttpTransport(AddressGuard()) as transport:
        error = await refused(TokenClient(transport), httpserver.url_for("/token"))
    assert (error.lasting, error.code) == (True, "url_not_allowed")
    assert not httpserver.log


async def test_address_that_is_none_is_said(tokens: TokenClient) -> None:
    error = await refused(tokens, "ftp://acme.test/")
    assert (error.lasting, error.code) == (True, "invalid_url")


# When tokens end.


@given(st.integers(min_value=1, max_value=10**9))
def test_duration_is_added_to_now(seconds: int) -> None:
    ends = NOW + timedelta(seconds=seconds)
    for value in (seconds, str(seconds), float(seconds)):
        assert expiry(value, "expireIn", NOW) == ends
    assert expiry(seconds * 1000, "milliseconds", NOW) == ends


@given(
    st.datetimes(min_value=datetime(2001, 9, 10), max_value=datetime(2100, 1, 1)),
    st.integers(min_value=-14, max_value=14),
)
def test_moment_is_read_in_every_spelling(moment: datetime, offset: int) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    elsewhere = (moment + timedelta(hours=offset)).replace(tzinfo=None)
    spellings: list[Any] = [
        int(moment.timestamp()),
        str(int(moment.timestamp())),
        int(moment.timestamp() * 1000),
        moment.isoformat(),
        f"{elsewhere.isoformat()}{offset:+03d}:00",
        moment.strftime("%Y-%m-%d %H:%M:%S"),
        moment.strftime("%a, %d %b %Y %H:%M:%S GMT"),
    ]
    for spelling in spellings:
        assert expiry(spelling, "expireAt", NOW) == moment, spelling


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
        max_leaves=4,
    )
)
def test_nothing_that_a_provider_says_breaks_the_reading(value: Any) -> None:
    for kind in ("expireAt", "expireIn", "milliseconds"):
        found = expiry(value, kind, NOW)
        assert found is None or found.tzinfo is not None
    assert text_at(value, "a.b") is None or isinstance(text_at(value, "a.b"), str)
    assert text_at(value, "") != ""


@pytest.mark.parametrize("value", [None, True, "", 0, -1, "0", "soon", [], {}, "nan", "1e400"])
def test_no_end_is_no_end(value: Any) -> None:
    assert expiry(value, "expireIn", NOW) is None


def test_absurd_duration_ends_within_what_can_be_stored() -> None:
    ends = expiry(10**11, "expireIn", NOW)
    assert ends is not None
    assert ends < NOW + timedelta(days=366 * 100)
