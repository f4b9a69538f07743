"""`perdure connections`: links, metadata, owners, and credentials of every kind."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from tests.unit.cli.calls import Run

LINK = "http://127.0.0.1:3003/connect?session_token=nango_connect_session_1"
MADE = {"data": {"token": "t", "connect_link": LINK, "expires_at": "2026-11-27T04:00:00Z"}}


@pytest.mark.parametrize(
    ("flags", "credentials"),
    [
        (
            ("--access-token", "a-1", "--refresh-token", "r-1", "--expires-at", "2026-05-01"),
            {
                "type": "OAUTH2",
                "access_token": "a-1",
                "refresh_token": "r-1",
                "expires_at": "2026-05-01",
            },
        ),
        (
            ("--client-id", "i", "--client-secret", "-s-1"),
            {"type": "OAUTH2_CC", "client_id": "i", "client_secret": "-s-1"},
        ),
        (
            ("--token-id", "i", "--token-secret", "s-1"),
            {"type": "TBA", "token_id": "i", "token_secret": "s-1"},
        ),
        (
            ("--auth", "two-step", "--credential", "user=u", "--credential", "secret=s-1"),
            {"type": "TWO_STEP", "user": "u", "secret": "s-1"},
        ),
    ],
)
def test_accounts_of_every_kind_are_imported(
    server: HTTPServer, run: Run, flags: tuple[str, ...], credentials: dict[str, str]
) -> None:
    server.expect_request(
        "/connections",
        method="POST",
        json={"provider_config_key": "hub", "credentials": credentials},
    ).respond_with_json({"connection_id": "acme"})

    result = run("connections", "create", "hub", *flags)

    assert result.code == 0, result.err
    assert "s-1" not in result.out + result.err


def test_secrets_come_from_the_environment(
    server: HTTPServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_CONNECTION_ACCESS_TOKEN", "a-1")
    credentials = {"type": "OAUTH2", "access_token": "a-1"}
    server.expect_request(
        "/connections", json={"provider_config_key": "hub", "credentials": credentials}
    ).respond_with_json({"connection_id": "acme"})

    assert run("connections", "create", "hub").code == 0


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (("hub",), {"allowed_integrations": ["hub"], "tags": {"source": "perdure-cli"}}),
        ((), {"tags": {"source": "perdure-cli"}}),
        (
            ("hub", "pay", "--user", "u1", "--email", "u@x.test", "--organization", "o1"),
            {
                "allowed_integrations": ["hub", "pay"],
                "end_user": {"id": "u1", "email": "u@x.test", "organization": {"id": "o1"}},
            },
        ),
        (
            ("zen", "--tag", "team=a", "--config", "subdomain=acme"),
            {
                "allowed_integrations": ["zen"],
                "tags": {"team": "a"},
                "integrations_config_defaults": {
                    "zen": {"connection_config": {"subdomain": "acme"}}
                },
            },
        ),
    ],
)
def test_link_is_made_for_somebody(
    server: HTTPServer, run: Run, arguments: tuple[str, ...], body: dict[str, Any]
) -> None:
    server.expect_request("/connect/sessions", method="POST", json=body).respond_with_json(
        MADE, status=201
    )

    result = run("connections", "connect-link", *arguments)
    as_json = run("connections", "connect-link", *arguments, "--json")

    assert (result.code, result.out.strip()) == (0, LINK), result.err
    assert "2026-11-27T04:00:00Z" in result.err
    assert as_json.json == MADE


def test_link_gives_a_connection_new_credentials(server: HTTPServer, run: Run) -> None:
    server.expect_request(
        "/connect/sessions/reconnect",
        method="POST",
        json={"integration_id": "hub", "connection_id": "acme"},
    ).respond_with_json(MADE, status=201)

    result = run("connections", "connect-link", "hub", "--reconnect", "acme")

    assert result.out.strip() == LINK, result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("connect-link", "--reconnect", "acme"),
        ("connect-link", "a", "b", "--config", "x=y"),
        ("connect-link", "a", "--email", "u@x.test"),
        ("metadata", "set", "hub", "acme", "[]"),
        ("metadata", "update", "hub", "acme", "{"),
        ("change", "hub", "acme"),
        ("change", "hub", "acme", "--organization", "o1"),
    ],
)
def test_what_makes_no_sense_is_not_sent(run: Run, arguments: tuple[str, ...]) -> None:
    result = run("connections", *arguments)
    assert result.code == 2
    assert "hint: " in result.err


@pytest.mark.parametrize(("command", "method"), [("set", "POST"), ("update", "PATCH")])
def test_metadata_is_replaced_or_merged(
    server: HTTPServer, run: Run, command: str, method: str
) -> None:
    body = {"provider_config_key": "hub", "connection_id": "acme", "metadata": {"plan": "pro"}}
    server.expect_request("/connections/metadata", method=method, json=body).respond_with_json(
        body, status=201 if method == "POST" else 200
    )

    result = run("connections", "metadata", command, "hub", "acme", '{"plan": "pro"}')
    as_json = run("connections", "metadata", command, "hub", "acme", '{"plan": "pro"}', "--json")

    assert result.code == 0, result.err
    assert as_json.json == body


def test_connection_is_handed_to_another_owner(server: HTTPServer, run: Run) -> None:
    body = {
        "tags": {"team": "a"},
        "end_user": {"id": "u1"},
        "webhook_url_override": None,
    }
    server.expect_request(
        "/connections/a/b",
        method="PATCH",
        query_string={"provider_config_key": "hub"},
        json=body,
    ).respond_with_json({"success": True})
    flags = ("--tag", "team=a", "--user", "u1", "--webhook-url", "")

    result = run("connections", "change", "hub", "a/b", *flags)
    as_json = run("connections", "change", "hub", "a/b", *flags, "--json")

    assert result.code == 0, result.err
    assert as_json.json == {"success": True}


def test_deletion_can_be_told_to_a_program(server: HTTPServer, run: Run) -> None:
    server.expect_request("/connections/acme", method="DELETE").respond_with_json({"success": True})
    assert run("connections", "delete", "hub", "acme", "--json").json == {"success": True}
