"""`perdure environments`, `perdure api-keys` and `perdure audit`: what they send and print."""

from __future__ import annotations

import json

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.unit.cli.calls import Run

KEY = "3c7d1f52-90d4-4b0e-8d8a-6f5e0f5a1b2c"
KEYS = "/environment/api-keys"
LISTED = {
    "id": "5b3f0a5e-6d0f-4e6a-9f43-9c2b1f6f3c11",
    "name": "warehouse",
    "ending": KEY[-4:],
    "scopes": ["environment:records:read"],
    "created_at": "2026-11-22T06:27:11Z",
    "expires_at": None,
    "last_used_at": None,
    "revoked_at": None,
}
MADE = LISTED | {"api_key": KEY}
ENVIRONMENT = {
    "name": "prod",
    "uuid": "b4a5b3a0-1f57-4c7a-8a2a-5c5f4b3d2e10",
    "created_at": "2026-11-22T06:27:11Z",
}
EVENT = {
    "id": 7,
    "at": "2026-11-22T06:27:11Z",
    "environment": "prod",
    "key_id": None,
    "key_name": "secret key",
    "act": "api_key.create",
    "subject": "warehouse",
    "request_id": "r1",
    "status": 201,
    "error": None,
}


def test_a_new_key_alone_is_on_standard_output(server: HTTPServer, run: Run) -> None:
    sent: list[dict] = []

    def make(request: Request) -> Response:
        sent.append(request.get_json())
        return Response(json.dumps(MADE), 201, content_type="application/json")

    server.expect_request(KEYS, method="POST").respond_with_handler(make)

    made = run("api-keys", "create", "warehouse", "--scope", "environment:records:read")

    assert made.code == 0
    assert made.out == f"{KEY}\n"
    assert "not shown again" in made.err
    assert sent == [{"name": "warehouse", "scopes": ["environment:records:read"]}]


def test_several_scopes_and_an_end_are_sent(server: HTTPServer, run: Run) -> None:
    sent: list[dict] = []

    def make(request: Request) -> Response:
        sent.append(request.get_json())
        return Response(json.dumps(MADE), 201, content_type="application/json")

    server.expect_request(KEYS, method="POST").respond_with_handler(make)

    run("api-keys", "create", "ci", "--scope", "a:b", "--scope", "a:c", "--days", "1.5")

    assert sent[0]["scopes"] == ["a:b", "a:c"]
    assert sent[0]["expires_at"].endswith("+00:00")


def test_keys_are_listed(server: HTTPServer, run: Run) -> None:
    server.expect_request(KEYS).respond_with_json({"data": [LISTED]})

    shown = run("api-keys", "list")

    assert "warehouse" in shown.out
    assert KEY[-4:] in shown.out
    assert "never" in shown.out
    assert run("api-keys", "list", "--json").json == {"data": [LISTED]}


def test_a_key_is_revoked_by_its_name(server: HTTPServer, run: Run) -> None:
    server.expect_request(KEYS, method="GET").respond_with_json({"data": [LISTED]})
    server.expect_request(f"{KEYS}/{LISTED['id']}", method="DELETE").respond_with_json(
        {"success": True}
    )

    assert run("api-keys", "revoke", "warehouse").out == "Revoked warehouse.\n"
    assert run("api-keys", "revoke", LISTED["id"]).code == 0
    unknown = run("api-keys", "revoke", "nobody")
    assert unknown.code == 1
    assert "api-keys list" in unknown.err


def test_environments_are_made_listed_and_deleted(server: HTTPServer, run: Run) -> None:
    made = ENVIRONMENT | {"key": MADE}
    server.expect_request("/environments", method="POST").respond_with_json(made, 201)
    server.expect_request("/environments", method="GET").respond_with_json({"data": [ENVIRONMENT]})
    server.expect_request("/environments/prod", method="DELETE").respond_with_json(
        {"success": True}
    )

    assert run("environments", "create", "prod").out == f"{KEY}\n"
    assert "prod" in run("environments", "list").out
    asked = run("environments", "delete", "prod")
    assert asked.code == 2
    assert "--yes" in asked.err
    assert run("environments", "delete", "prod", "--yes").out == "Deleted prod.\n"


def test_the_audit_is_shown(server: HTTPServer, run: Run) -> None:
    server.expect_request("/audit", query_string="act=api_key.create&limit=20").respond_with_json(
        {"data": [EVENT, EVENT | {"status": None}, EVENT | {"status": 403, "error": "forbidden"}]}
        | {"next_cursor": "c"}
    )

    shown = run("audit", "--act", "api_key.create")

    assert shown.code == 0
    assert "warehouse" in shown.out
    for outcome in ("done", "unknown", "forbidden"):
        assert outcome in shown.out
    assert "--cursor c" in shown.err
