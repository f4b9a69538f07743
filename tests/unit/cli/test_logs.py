"""`perdure logs` and `perdure runs logs`: what they ask for, and what they print."""

from __future__ import annotations

from typing import Any

from pytest_httpserver import HTTPServer

from tests.unit.cli.calls import Run


def line(number: int, **facts: Any) -> dict[str, Any]:
    return {
        "id": number,
        "run_id": "r1",
        "at": f"2026-11-22T06:27:{number:02}Z",
        "level": "info",
        "message": f"line {number}",
        "data": None,
        "kind": "sync",
        "integration": "github",
        "connection_id": "acme",
        "script": "issues",
        "variant": "base",
        **facts,
    }


def test_search_prints_the_newest_line_last(server: HTTPServer, run: Run) -> None:
    query = {"text": "line", "level": ["warn", "error"], "script": "issues", "limit": "2"}
    answer = {"logs": [line(2, data={"a": 1}), line(1)], "next_cursor": "older", "back_to": None}
    server.expect_request("/logs", method="GET").respond_with_json(answer)

    result = run("logs", "line", "--level", "warn", "--script", "issues", "--limit", "2")

    assert result.code == 0, result.err
    printed = result.out.splitlines()
    assert "github/issues/acme  line 1" in printed[0]
    assert printed[1].endswith('line 2 {"a": 1}')
    assert "--cursor older" in result.err
    (asked,) = [request for request, _ in server.log]
    assert {name: asked.args.getlist(name) for name in query} == {
        "text": ["line"],
        "level": ["warn", "error"],
        "script": ["issues"],
        "limit": ["2"],
    }


def test_span_is_asked_for_as_a_moment(server: HTTPServer, run: Run) -> None:
    answer = {"logs": [], "next_cursor": None, "back_to": None}
    server.expect_request("/logs", method="GET").respond_with_json(answer)

    assert "No line" in run("logs", "--within", "12h").out
    assert "since" in server.log[0][0].args
    refused = run("logs", "--within", "soon")
    assert refused.code == 2
    assert "12h" in refused.err


def test_log_of_a_run_is_read_to_its_end(server: HTTPServer, run: Run) -> None:
    pages = [
        ({}, {"logs": [line(1)], "cursor": "a", "ended": False}),
        ({"cursor": "a"}, {"logs": [line(2)], "cursor": "b", "ended": True}),
        ({"cursor": "b"}, {"logs": [], "cursor": "b", "ended": True}),
    ]
    for query, page in pages:
        server.expect_request("/runs/r1/logs", query_string=query).respond_with_json(page)

    result = run("runs", "logs", "r1")
    assert [text.split()[-2:] for text in result.out.splitlines()] == [["line", "1"], ["line", "2"]]
    assert [one["id"] for one in run("runs", "logs", "r1", "--json").json] == [1, 2]


def test_following_goes_on_until_the_run_has_ended(server: HTTPServer, run: Run) -> None:
    logs = server.expect_ordered_request
    logs("/runs/r1/logs").respond_with_json({"logs": [], "cursor": "a", "ended": False})
    logs("/runs/r1/logs").respond_with_json({"logs": [line(1)], "cursor": "b", "ended": True})
    logs("/runs/r1/logs").respond_with_json({"logs": [], "cursor": "b", "ended": True})

    result = run("runs", "logs", "r1", "--follow", "--json")

    assert result.code == 0, result.err
    assert '"line 1"' in result.out
    assert len(result.out.splitlines()) == 1
