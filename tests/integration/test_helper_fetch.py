"""Requests to anywhere, without the connection's credentials."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from temporalio.client import WorkflowFailureError
from werkzeug import Request, Response

from perdure.temporal.failures import describe_failure
from tests.support.actions import call, start
from tests.support.source import Source
from tests.support.stack import Stack


async def test_fetch_carries_no_credentials_and_returns_any_status(
    stack: Stack, source: Source
) -> None:
    seen: list[dict[str, str]] = []

    def answer(request: Request) -> Response:
        seen.append(dict(request.headers))
        body = request.get_data(as_text=True)
        return Response(f"{request.method} {body}", status=503, content_type="text/plain")

    source.server.expect_request("/open").respond_with_handler(answer)
    url = f"{source.url}/open"

    got = await call(
        stack,
        source,
        f"""
        first = await nango.uncontrolled_fetch(url="{url}", headers={{"X-One": "1"}})
        second = await nango.uncontrolled_fetch(url="{url}", method="post", body={{"a": [1]}})
        third = await nango.uncontrolled_fetch(url="{url}", method="PUT", body="plain")
        return [[r.status, r.data] for r in (first, second, third)]
        """,
    )

    assert got == [[503, "GET "], [503, 'POST {"a":[1]}'], [503, "PUT plain"]]
    assert seen[0]["X-One"] == "1"
    assert "application/json" in seen[1]["Content-Type"]
    assert all("Authorization" not in headers for headers in seen)


async def test_secret_headers_do_not_follow_to_another_origin(stack: Stack, source: Source) -> None:
    with HTTPServer(host="127.0.0.1", port=0) as other:
        seen: dict[str, Any] = {}

        def answer(request: Request) -> Response:
            seen.update(request.headers)
            return Response("{}", content_type="application/json")

        other.expect_request("/end").respond_with_handler(answer)
        source.server.expect_request("/begin").respond_with_data(
            "", status=302, headers={"location": other.url_for("/end")}
        )

        got = await call(
            stack,
            source,
            f"""
            headers = {{"Authorization": "x", "Cookie": "a=b", "X-Shop": "k", "Accept": "a/b"}}
            answer = await nango.uncontrolled_fetch(url="{source.url}/begin", headers=headers)
            return answer.status
            """,
        )

    assert got == 200
    assert seen["Accept"] == "a/b"
    assert not {"Authorization", "Cookie", "X-Shop"} & seen.keys()


@pytest.mark.parametrize(
    ("location", "code"),
    [("/around", "too_many_redirects"), ("ftp://example.com/", "invalid_redirect")],
)
async def test_redirect_that_leads_nowhere_has_a_code(
    stack: Stack, source: Source, location: str, code: str
) -> None:
    source.server.expect_request("/around").respond_with_data(
        "", status=302, headers={"location": location}
    )

    handle = await start(
        stack, source, f'await nango.uncontrolled_fetch(url="{source.url}/around")'
    )
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()

    failure = describe_failure(caught.value)
    assert failure["type"] == "action_script_runtime_error"
    assert failure["payload"]["code"] == code


@pytest.mark.parametrize("url", ["ftp://example.com/", "no url", "http://"])
async def test_what_is_no_url_of_http_is_not_allowed(
    stack: Stack, source: Source, url: str
) -> None:
    body = f"""
        try:
            await nango.uncontrolled_fetch(url="{url}")
        except nango.ActionError as error:
            return error.payload["code"]
        """

    assert await call(stack, source, body) == "url_not_allowed"


async def test_post_that_got_no_answer_is_sent_once(stack: Stack, source: Source) -> None:
    sent: list[str] = []

    def break_off(request: Request) -> Response:
        sent.append(request.method)
        response = Response("short", content_type="text/plain")
        response.headers["content-length"] = "1000"
        return response

    def recover(request: Request) -> Response:
        return break_off(request) if len(sent) < 3 else Response("fine")

    source.server.expect_request("/breaks", method="POST").respond_with_handler(break_off)
    source.server.expect_request("/breaks", method="GET").respond_with_handler(recover)

    got = await call(
        stack,
        source,
        f"""
        from perdure import HttpError
        try:
            await nango.uncontrolled_fetch(url="{source.url}/breaks", method="POST")
        except HttpError as error:
            failed = [error.status, "{source.url}" in str(error)]
        return failed, (await nango.uncontrolled_fetch(url="{source.url}/breaks")).data
        """,
    )

    assert got[0][0] is None
    assert got[1] == "fine"
    assert sent == ["POST", "GET", "GET"]


async def test_options_that_make_no_sense_are_named(stack: Stack, source: Source) -> None:
    body = """
        found = []
        for options in ({"method": "BREW"}, {"headers": {"x": [1]}}, {"body": object()}):
            try:
                await nango.uncontrolled_fetch(url="https://example.com", **options)
            except Exception as error:
                found.append([error.code, str(error).partition(":")[0]])
        return found
        """

    assert await call(stack, source, body) == [
        ["invalid_options", "uncontrolled_fetch, method"],
        ["invalid_options", "uncontrolled_fetch, headers.x"],
        ["invalid_options", "uncontrolled_fetch, body"],
    ]
