"""`perdure webhooks`: what it sends, and what it makes of the answer."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer

from tests.unit.cli.calls import Run

SETTINGS = {
    "primary_url": "https://app.test/hooks",
    "secondary_url": None,
    "on_auth_creation": True,
    "on_auth_refresh_error": True,
    "on_sync_completion_always": False,
    "on_sync_error": True,
    "on_async_action_completion": True,
    "signing_key_created_at": None,
}
DELIVERY = {
    "id": "5b3f0a5e-6d0f-4e6a-9f43-9c2b1f6f3c11",
    "type": "sync",
    "subject": "issues: Issue",
    "integration": "github",
    "connection_id": "acme",
    "run_id": "r1",
    "target": "primary",
    "url": "https://app.test/hooks",
    "status": "failed",
    "created_at": "2026-11-22T06:27:11Z",
    "finished_at": "2026-11-22T06:27:13Z",
    "attempts": 2,
    "last_attempt_at": "2026-11-22T06:27:13Z",
    "last_status": 404,
    "last_error": "the receiver answered 404",
    "workflow_id": "webhook-delivery/dev/5b3f0a5e",
}
DETAIL = DELIVERY | {
    "payload": {"type": "sync", "model": "Issue"},
    "history": [
        {"at": "2026-11-22T06:27:11Z", "status": 503, "error": "the receiver answered 503"},
        {"at": "2026-11-22T06:27:13Z", "status": 404, "error": "the receiver answered 404"},
    ],
}
PAGE = "/webhooks/deliveries"


def test_settings_are_shown(server: HTTPServer, run: Run) -> None:
    server.expect_request("/environment/webhooks", method="GET").respond_with_json(SETTINGS)

    shown = run("webhooks", "settings")

    assert shown.code == 0
    assert "https://app.test/hooks" in shown.out
    assert "failed syncs" in shown.out
    assert "rotate-key" in shown.out
    assert run("webhooks", "settings", "--json").json == SETTINGS


def test_settings_are_changed_by_what_is_given(server: HTTPServer, run: Run) -> None:
    changes = {"primary_url": "https://b.test", "secondary_url": None, "on_sync_error": False}
    server.expect_request("/environment/webhooks", method="PATCH", json=changes).respond_with_json(
        SETTINGS | changes
    )

    result = run(
        "webhooks",
        "settings",
        "--primary-url",
        "https://b.test",
        "--secondary-url",
        "",
        "--no-on-sync-error",
    )

    assert (result.code, result.err) == (0, "")


def test_new_key_is_printed_alone(server: HTTPServer, run: Run) -> None:
    server.expect_request(
        "/environment/webhook-signing-key/rotate", method="POST"
    ).respond_with_json({"signing_key": "k3y"})

    result = run("webhooks", "rotate-key")

    assert result.out == "k3y\n"
    assert "not shown again" in result.err
    assert run("webhooks", "rotate-key", "--json").json == {"signing_key": "k3y"}


def test_deliveries_are_listed_by_what_they_are(server: HTTPServer, run: Run) -> None:
    query = {"status": "failed", "type": "sync", "connection_id": "acme", "limit": "5"}
    server.expect_request(PAGE, query_string=query).respond_with_json(
        {"deliveries": [DELIVERY], "next_cursor": "next"}
    )
    options = ("--status", "failed", "--type", "sync", "-c", "acme", "--limit", "5")

    result = run("webhooks", "list", *options)

    assert DELIVERY["id"] in result.out
    assert "the receiver answered 404" in result.out
    assert "--cursor next" in result.err
    assert run("webhooks", "list", *options, "--json").json["next_cursor"] == "next"


def test_delivery_is_shown_with_attempts_and_payload(server: HTTPServer, run: Run) -> None:
    server.expect_request(f"{PAGE}/{DELIVERY['id']}").respond_with_json(DETAIL)

    result = run("webhooks", "show", DELIVERY["id"])

    assert result.code == 0
    for words in ("the receiver answered 503", '\n  "model": "Issue"', "issues: Issue for acme"):
        assert words in result.out
    assert run("webhooks", "show", DELIVERY["id"], "--json").json == DETAIL


def test_named_deliveries_are_sent_again(server: HTTPServer, run: Run) -> None:
    for name in ("d1", "d2"):
        server.expect_ordered_request(f"{PAGE}/{name}/redeliver", method="POST").respond_with_json(
            DELIVERY
        )

    assert run("webhooks", "redeliver", "d1", "d2").out == "Sending 2 again.\n"


def test_all_that_failed_are_sent_again_the_oldest_first(server: HTTPServer, run: Run) -> None:
    failed = [DELIVERY | {"id": f"d{number}"} for number in (3, 2, 1)]
    query = {"status": "failed", "limit": "1000"}
    server.expect_ordered_request(PAGE, query_string=query).respond_with_json(
        {"deliveries": failed[:2], "next_cursor": "n"}
    )
    server.expect_ordered_request(PAGE, query_string=query | {"cursor": "n"}).respond_with_json(
        {"deliveries": failed[2:], "next_cursor": None}
    )
    for name in ("d1", "d2", "d3"):
        server.expect_ordered_request(f"{PAGE}/{name}/redeliver").respond_with_json(DELIVERY)

    result = run("webhooks", "redeliver", "--failed", "--json")

    assert len(result.json["deliveries"]) == 3


@pytest.mark.parametrize("arguments", [(), ("d1", "--failed")])
def test_what_to_send_again_must_be_said(
    server: HTTPServer, run: Run, arguments: tuple[str, ...]
) -> None:
    result = run("webhooks", "redeliver", *arguments)
    assert result.code == 2
    assert "--failed" in result.err
