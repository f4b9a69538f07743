"""What webhooks say, in full."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from perdure.db.webhook_settings import WebhookSettings
from perdure.webhooks.payloads import (
    AuthSubject,
    SyncSubject,
    async_action_payload,
    auth_payload,
    forward_payload,
    sync_error_payload,
    sync_success_payload,
    webhook_error,
)
from perdure.webhooks.selection import (
    Destination,
    destinations,
    wants_auth,
    wants_sync_success,
)

RUN = SyncSubject(
    connection_id="acme",
    integration="github-prod",
    sync="issues",
    variant="base",
    incremental=True,
    started_at=datetime(2026, 5, 1, 14, 0, 0, 123456, timezone(timedelta(hours=2))),
)
CONNECTION = AuthSubject(
    connection_id="acme",
    integration="github-prod",
    provider="github",
    auth_mode="OAUTH2",
    environment="prod",
    tags={"team": "a"},
    end_user={"id": "u1", "email": "u@example.com", "organization": {"id": "o1"}},
)


def test_success_of_a_sync() -> None:
    changes = {"added": 3, "updated": 2, "unchanged": 7}

    assert sync_success_payload(RUN, "Issue", changes) == {
        "from": "nango",
        "type": "sync",
        "connectionId": "acme",
        "providerConfigKey": "github-prod",
        "syncName": "issues",
        "syncVariant": "base",
        "model": "Issue",
        "syncType": "INCREMENTAL",
        "success": True,
        "modifiedAfter": "2026-05-01T12:00:00.123Z",
        "queryTimeStamp": "2026-05-01T12:00:00.123Z",
        "responseResults": {"added": 3, "updated": 2, "deleted": 0},
    }


def test_first_success_of_a_sync() -> None:
    payload = sync_success_payload(replace(RUN, incremental=False), "Issue", {})
    assert (payload["syncType"], payload["queryTimeStamp"]) == ("INITIAL", None)


def test_success_of_a_sync_that_wrote_checkpoints() -> None:
    checkpoints = {"from": None, "to": {"page": 7}}
    payload = sync_success_payload(RUN, "Issue", {"added": 1}, checkpoints)
    assert payload["checkpoints"] == checkpoints


def test_failure_of_a_sync() -> None:
    failure = {
        "type": "script_http_error",
        "message": "GET /issues answered 404",
        "payload": {"hint": "look"},
        "upstream": {"status": 404},
        "traceback": "...",
        "line": 7,
    }
    failed_at = datetime(2026, 5, 1, 12, 5, tzinfo=UTC)
    error = webhook_error(failure)

    payload = sync_error_payload(RUN, ("Issue", "Label"), error, failed_at=failed_at)

    assert payload == {
        "from": "nango",
        "type": "sync",
        "connectionId": "acme",
        "providerConfigKey": "github-prod",
        "syncName": "issues",
        "syncVariant": "base",
        "model": "Issue,Label",
        "syncType": "INCREMENTAL",
        "success": False,
        "error": {
            "type": "script_http_error",
            "description": "GET /issues answered 404",
            "payload": {"hint": "look"},
            "additional_properties": {"upstream_response": {"status": 404}},
        },
        "startedAt": "2026-05-01T12:00:00.123Z",
        "failedAt": "2026-05-01T12:05:00.000Z",
    }


def test_new_credentials() -> None:
    assert auth_payload(CONNECTION, "creation") == {
        "from": "nango",
        "type": "auth",
        "operation": "creation",
        "connectionId": "acme",
        "authMode": "OAUTH2",
        "providerConfigKey": "github-prod",
        "provider": "github",
        "environment": "prod",
        "success": True,
        "tags": {"team": "a"},
        "endUser": {
            "endUserId": "u1",
            "endUserEmail": "u@example.com",
            "organizationId": "o1",
            "tags": {},
        },
    }


def test_credentials_that_could_not_be_renewed() -> None:
    bare = replace(CONNECTION, tags={}, end_user=None)
    error = webhook_error({"type": "refresh_failed", "message": "invalid_grant"})

    payload = auth_payload(bare, "refresh", error)

    assert payload["success"] is False
    assert payload["operation"] == "refresh"
    assert payload["error"] == {"type": "refresh_failed", "description": "invalid_grant"}
    assert not {"tags", "endUser"} & payload.keys()


def test_end_of_an_action_that_nobody_waited_for() -> None:
    assert async_action_payload("acme", "github-prod", "a-1", "/action/a-1") == {
        "from": "nango",
        "type": "async_action",
        "connectionId": "acme",
        "providerConfigKey": "github-prod",
        "payload": {"id": "a-1", "statusUrl": "/action/a-1"},
    }


def test_webhook_of_a_provider_is_handed_on_with_whom_it_concerns() -> None:
    assert forward_payload("github", "github-prod", "acme", [1]) == {
        "from": "github",
        "type": "forward",
        "connectionId": "acme",
        "providerConfigKey": "github-prod",
        "payload": [1],
    }
    assert forward_payload("github", "github-prod", None, [1]) == [1]


def test_success_without_changes_is_told_only_where_that_is_wanted() -> None:
    unchanged = {"added": 0, "updated": 0, "deleted": 0, "unchanged": 9}
    assert not wants_sync_success(WebhookSettings(), unchanged)
    assert not wants_sync_success(WebhookSettings(), {})
    assert wants_sync_success(WebhookSettings(on_sync_completion_always=True), unchanged)
    for change in ("added", "updated", "deleted"):
        assert wants_sync_success(WebhookSettings(), {**unchanged, change: 1})


@pytest.mark.parametrize("operation", ["creation", "override"])
def test_new_credentials_are_told_unless_that_is_switched_off(operation: str) -> None:
    assert wants_auth(WebhookSettings(on_auth_refresh_error=False), operation)
    assert not wants_auth(WebhookSettings(on_auth_creation=False), operation)


def test_renewals_have_a_flag_of_their_own() -> None:
    assert wants_auth(WebhookSettings(on_auth_creation=False), "refresh")
    assert not wants_auth(WebhookSettings(on_auth_refresh_error=False), "refresh")


def test_url_of_the_connection_takes_the_place_of_both_urls() -> None:
    both = WebhookSettings(primary_url="https://a.test", secondary_url="https://b.test")
    assert destinations(both, None) == [
        Destination("primary", "https://a.test"),
        Destination("secondary", "https://b.test"),
    ]
    assert destinations(both, "https://c.test") == [Destination("override", "https://c.test")]
    assert destinations(WebhookSettings(secondary_url="https://b.test"), None) == [
        Destination("secondary", "https://b.test")
    ]
    assert destinations(WebhookSettings(), None) == []
