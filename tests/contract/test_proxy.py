"""Providers' APIs, through Nango's own client."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.contract.conftest import ClientError, NodeClient

TARGET = {"providerConfigKey": "tracker", "connectionId": "acme"}


@pytest.fixture
def echo(httpserver: HTTPServer) -> list[Request]:
    """An API that answers with what it is sent, and keeps that."""
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        return Response(request.get_data(), status=201, headers={"x-seen": "yes"})

    httpserver.expect_request("/echo").respond_with_handler(answer)
    return seen


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("method", ["post", "put", "patch"])
async def test_body_goes_there_and_back(
    nango: NodeClient, echo: list[Request], method: str
) -> None:
    answer = await nango.call(
        method,
        TARGET
        | {
            "endpoint": "/echo",
            "data": {"a": 1},
            "params": {"q": "x y"},
            "headers": {"x-own": "1"},
        },
    )

    (request,) = echo
    assert (answer["status"], answer["data"]) == (201, {"a": 1})
    assert answer["headers"]["x-seen"] == "yes"
    assert request.method == method.upper()
    assert request.args["q"] == "x y"
    assert request.headers["x-own"] == "1"
    assert request.headers["authorization"] == "Bearer key-of-acme"
    assert "connection-id" not in request.headers


@pytest.mark.usefixtures("connection")
async def test_reading_and_deleting_go_through(nango: NodeClient, echo: list[Request]) -> None:
    read = await nango.call("get", TARGET | {"endpoint": "/echo", "params": "a=b"})
    deleted = await nango.call("delete", TARGET | {"endpoint": "/echo"})
    any_method = await nango.call("proxy", TARGET | {"endpoint": "/echo", "method": "GET"})

    assert [request.method for request in echo] == ["GET", "DELETE", "GET"]
    assert {answer["status"] for answer in (read, deleted, any_method)} == {201}


@pytest.mark.usefixtures("connection")
async def test_refusal_of_the_provider_is_passed_on(
    nango: NodeClient, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/gone").respond_with_json({"why": "gone"}, status=410)

    with pytest.raises(ClientError) as caught:
        await nango.call("get", TARGET | {"endpoint": "/gone"})

    assert (caught.value.status, caught.value.data) == (410, {"why": "gone"})


@pytest.mark.usefixtures("connection")
async def test_request_is_tried_again(nango: NodeClient, httpserver: HTTPServer) -> None:
    httpserver.expect_ordered_request("/flaky").respond_with_data("", status=503)
    httpserver.expect_ordered_request("/flaky").respond_with_json({"fine": True})

    answer = await nango.call(
        "get", TARGET | {"endpoint": "/flaky", "retries": 2, "retryOn": [503]}
    )

    assert answer["data"] == {"fine": True}
    assert len(httpserver.log) == 2
