"""What each command sends, and what it makes of the answer."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from tests.unit.cli.calls import KEY, Run

RUN = {
    "id": "01a201ef-ee49-774b-81d4-cb50c8171372",
    "workflow_id": "sync/dev/stripe/acme/customers/base",
    "kind": "sync",
    "integration": "stripe",
    "connection_id": "acme",
    "script": "customers",
    "variant": "base",
    "bundle": "c8d2112b861b0000",
    "status": "success",
    "started_at": "2026-11-22T06:27:11Z",
    "finished_at": "2026-11-22T06:27:13Z",
    "duration_s": 2.04,
    "counts": {"Customer": {"added": 1, "updated": 0, "deleted": 0, "unchanged": 2000}},
    "error": None,
    "temporal_url": "http://127.0.0.1:8233/namespaces/default/workflows/x",
    "waiting": None,
    "dry_run": False,
}


def test_every_request_carries_the_key(server: HTTPServer, run: Run) -> None:
    server.expect_request(
        "/integrations", headers={"authorization": f"Bearer {KEY}"}
    ).respond_with_json({"data": []})

    result = run("integrations", "list")

    assert (result.code, result.out) == (0, "")
    assert "There are no integrations" in result.err


def test_integration_is_made_from_key_and_provider(server: HTTPServer, run: Run) -> None:
    server.expect_request(
        "/integrations", method="POST", json={"unique_key": "pay", "provider": "stripe-api-key"}
    ).respond_with_json({"data": {"unique_key": "pay"}})

    assert run("integrations", "create", "pay", "--provider", "stripe-api-key").code == 0


def test_connection_is_made_with_everything_that_is_given(server: HTTPServer, run: Run) -> None:
    body = {
        "provider_config_key": "shop",
        "connection_id": "acme",
        "metadata": {"a": [1]},
        "connection_config": {"baseUrl": "https://x.test/?a=b"},
        "tags": {"plan": "pro"},
        "credentials": {"type": "BASIC", "username": "ada", "password": "s3cret"},
    }
    server.expect_request("/connections", method="POST", json=body).respond_with_json(
        {"connection_id": "acme"}
    )

    result = run(
        *("connections", "create", "shop", "--id", "acme", "--metadata", '{"a": [1]}'),
        *("--config", "baseUrl=https://x.test/?a=b", "--tag", "plan=pro"),
        *("--username", "ada", "--password", "s3cret"),
    )

    assert result.code == 0, result.err
    assert "acme" in result.out
    assert "s3cret" not in result.out + result.err


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ({"type": "OAUTH2", "refresh_token": "r-1", "expires_at": "2027-01-01T00:00:00Z"}, "2027"),
        ({"type": "OAUTH2_CC", "token": "t-1"}, "do not expire"),
        ({"type": "OAUTH2", "access_token": "a-1"}, "cannot be refreshed"),
        ({"type": "API_KEY", "apiKey": "k-1"}, "cannot be refreshed"),
    ],
)
def test_credentials_are_refreshed_on_demand_and_not_shown(
    credentials: dict[str, str], said: str, server: HTTPServer, run: Run
) -> None:
    query = {"provider_config_key": "hub", "force_refresh": "true", "refresh_token": "true"}
    server.expect_request("/connections/acme", query_string=query).respond_with_json(
        {"connection_id": "acme", "credentials": credentials}
    )

    result = run("connections", "refresh", "hub", "acme")
    as_json = run("connections", "refresh", "hub", "acme", "--json")

    assert result.code == 0, result.err
    assert said in result.out + result.err
    assert json.loads(as_json.out)["refreshed"] is ("cannot" not in said)
    shown = result.out + result.err + as_json.out
    assert not any(secret in shown for secret in ("r-1", "t-1", "a-1", "k-1"))


def test_api_key_may_come_from_the_environment(
    server: HTTPServer, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_CONNECTION_API_KEY", "sk_1")
    credentials = {"type": "API_KEY", "api_key": "sk_1"}
    server.expect_request(
        "/connections", json={"provider_config_key": "pay", "credentials": credentials}
    ).respond_with_json({"connection_id": "x"})

    assert run("connections", "create", "pay").code == 0


def test_ids_with_slashes_stay_one_segment_of_the_path(server: HTTPServer, run: Run) -> None:
    server.expect_request(
        "/connections/a/b", query_string={"provider_config_key": "pay"}, method="DELETE"
    ).respond_with_json({"success": True})

    assert run("connections", "delete", "pay", "a/b").code == 0
    assert server.log[0][0].environ["RAW_URI"].startswith("/connections/a%2Fb?")


def test_credentials_are_shown_only_when_asked_for(server: HTTPServer, run: Run) -> None:
    server.expect_request("/connections/acme").respond_with_json(
        {
            "connection_id": "acme",
            "provider_config_key": "pay",
            "provider": "stripe-api-key",
            "created_at": "2026-11-22T06:27:02Z",
            "credentials": {"type": "API_KEY", "apiKey": "sk_1"},
        }
    )

    assert "sk_1" not in run("connections", "show", "pay", "acme").out
    assert "sk_1" in run("connections", "get", "pay", "acme", "--show-credentials").out


@pytest.mark.parametrize("command", ["trigger", "pause", "start"])
def test_sync_commands_name_syncs_and_connection(
    server: HTTPServer, run: Run, command: str
) -> None:
    body = {"provider_config_key": "pay", "syncs": ["a", "b::x"], "connection_id": "acme"}
    server.expect_request(f"/sync/{command}", method="POST", json=body).respond_with_json(
        {"success": True}
    )

    assert run("syncs", command, "pay", "a", "b::x", "-c", "acme").code == 0


@pytest.mark.parametrize(
    ("options", "opts"),
    [
        (["--reset"], {"reset": True, "emptyCache": False}),
        (["--empty-cache"], {"reset": False, "emptyCache": True}),
    ],
)
def test_trigger_says_how_to_start_over(
    server: HTTPServer, run: Run, options: list[str], opts: dict[str, bool]
) -> None:
    body = {"provider_config_key": "pay", "syncs": [], "opts": opts}
    server.expect_request("/sync/trigger", method="POST", json=body).respond_with_json(
        {"success": True}
    )

    assert run("syncs", "trigger", "pay", *options).code == 0


@pytest.mark.parametrize(
    ("arguments", "frequency"), [(["every 5 minutes"], "every 5 minutes"), (["--revert"], None)]
)
def test_frequency_is_set_and_reverted(
    server: HTTPServer, run: Run, arguments: list[str], frequency: str | None
) -> None:
    body = {
        "provider_config_key": "pay",
        "connection_id": "acme",
        "sync_name": "customers",
        "sync_variant": "eu",
        "frequency": frequency,
    }
    server.expect_request(
        "/sync/update-connection-frequency", method="PUT", json=body
    ).respond_with_json({"frequency": "every 5 minutes"})

    result = run("syncs", "frequency", "pay", "customers::eu", *arguments, "-c", "acme")

    assert result.code == 0, result.err
    assert "every 5 minutes" in result.out


def test_frequency_is_given_or_reverted_not_both(server: HTTPServer, run: Run) -> None:
    assert run("syncs", "frequency", "pay", "customers", "-c", "acme").code == 2
    both = run("syncs", "frequency", "pay", "customers", "every day", "--revert", "-c", "acme")
    assert both.code == 2


@pytest.mark.parametrize(("command", "method"), [("create", "POST"), ("delete", "DELETE")])
def test_variants_are_made_and_deleted(
    server: HTTPServer, run: Run, command: str, method: str
) -> None:
    body = {"provider_config_key": "pay", "connection_id": "acme"}
    server.expect_request("/sync/customers/variant/eu", method=method, json=body).respond_with_json(
        {"id": "1", "name": "customers", "variant": "eu"}
    )

    assert run("syncs", "variants", command, "pay", "customers", "eu", "-c", "acme").code == 0


@pytest.mark.parametrize(("status", "said"), [("cancelled", "cancelled"), ("running", "asked to")])
def test_run_is_cancelled(server: HTTPServer, run: Run, status: str, said: str) -> None:
    server.expect_request("/runs/r1/cancel", method="POST").respond_with_json(
        RUN | {"id": "r1", "status": status}
    )

    result = run("runs", "cancel", "r1")

    assert result.code == 0
    assert said in result.out


def test_status_of_all_syncs_is_asked_for_by_default(server: HTTPServer, run: Run) -> None:
    status = {
        "name": "customers",
        "variant": "eu",
        "connection_id": "acme",
        "status": "RUNNING",
        "frequency": "every 1h",
        "finishedAt": None,
        "nextScheduledSyncAt": None,
        "recordCount": {"Customer": 2000},
        "heldDeletes": [HELD],
        "latestResult": {},
    }
    server.expect_request(
        "/sync/status", query_string={"syncs": "*", "provider_config_key": "pay"}
    ).respond_with_json({"syncs": [status]})

    result = run("syncs", "status", "pay")

    assert "customers::eu" in result.out
    assert "Customer 2,000" in result.out
    assert "1,900 of 2,000 Customer wait to be confirmed" in result.out + result.err
    assert run("syncs", "status", "pay", "--json").json == {"syncs": [status]}


@pytest.mark.parametrize(
    ("status", "counts", "said"),
    [
        ("SUCCESS", {"added": 0, "updated": 0, "deleted": 0}, "nothing changed"),
        ("SUCCESS", {"added": 2, "updated": 0, "deleted": 0}, "2 added"),
        ("RUNNING", {"added": 0, "updated": 0, "deleted": 0}, ""),
    ],
)
def test_status_of_a_sync_says_that_its_last_run_changed_nothing(
    server: HTTPServer, run: Run, status: str, counts: dict[str, int], said: str
) -> None:
    sync = {
        "name": "customers",
        "connection_id": "acme",
        "status": status,
        "frequency": "every hour",
        "latestResult": {"Customer": counts},
    }
    server.expect_request("/sync/status").respond_with_json({"syncs": [sync]})

    shown = run("syncs", "status", "pay").out

    assert said in shown
    assert ("nothing changed" in shown) is (said == "nothing changed")


def test_records_are_read_from_a_cursor_with_filters(server: HTTPServer, run: Run) -> None:
    metadata = {"last_action": "UPDATED", "last_modified_at": "2026-11-22T06:27:11Z"}
    page = {
        "records": [{"id": "1", "name": "Ada", "tags": ["x"], "_nango_metadata": metadata}],
        "next_cursor": "abc",
    }
    query = {"model": "Person", "limit": "20", "cursor": "zz", "filter": "added,updated"}
    server.expect_request(
        "/records",
        query_string=query,
        headers={"connection-id": "acme", "provider-config-key": "hr"},
    ).respond_with_json(page)
    command = ("records", "list", "hr", "Person", "-c", "acme", "--cursor", "zz")
    filters = ("--filter", "added", "--filter", "updated")

    result = run(*command, *filters)

    assert "Ada" in result.out
    assert "--cursor abc" in result.err
    assert run(*command, *filters, "--json").json == page


def test_ids_of_records_are_repeated_in_the_query(server: HTTPServer, run: Run) -> None:
    server.expect_request("/records").respond_with_json({"records": [], "next_cursor": None})

    assert run("records", "list", "hr", "P", "-c", "a", "--id", "1", "--id", "2").code == 0
    assert server.log[0][0].args.getlist("ids") == ["1", "2"]


def test_action_prints_its_output_as_json(server: HTTPServer, run: Run, elsewhere: Path) -> None:
    (elsewhere / "input.json").write_text('{"email": "ada@example.com"}')
    body = {"action_name": "create", "input": {"email": "ada@example.com"}}
    server.expect_request("/action/trigger", json=body).respond_with_json("cus_1")

    result = run("actions", "trigger", "pay", "create", "-c", "acme", "--input", "@input.json")

    assert result.json == "cus_1"


def test_action_without_output_prints_null(server: HTTPServer, run: Run) -> None:
    server.expect_request("/action/trigger").respond_with_data("")

    assert run("actions", "trigger", "pay", "create", "-c", "acme").json is None


def test_runs_are_listed_with_what_they_did(server: HTTPServer, run: Run) -> None:
    waiting = {"reason": "503 from the source", "attempt": 3, "next_attempt_at": None}
    listed = [RUN, {**RUN, "id": "2", "status": "running", "waiting": waiting}]
    query = {"limit": "20", "script": "customers", "status": "success"}
    server.expect_request("/runs", query_string=query).respond_with_json(
        {"runs": listed, "next_cursor": None}
    )

    result = run("runs", "list", "--script", "customers", "--status", "success")

    assert "1 added, 2,000 unchanged" in result.out
    assert "503 from the source (attempt 3)" in result.out


@pytest.mark.parametrize("message", ["a/syncs/b.py:3: boom", "a/syncs/b.py: boom", "boom"])
def test_failed_run_shows_place_traceback_and_log(
    server: HTTPServer, run: Run, message: str
) -> None:
    place = {"file": "a/syncs/b.py", "line": 3}
    error = {"type": "x", "message": message, "traceback": "T", **place}
    logs = [{"at": "2026-11-22T06:27:11Z", "level": "warn", "message": "careful", "data": None}]
    server.expect_request(f"/runs/{RUN['id']}").respond_with_json(
        {**RUN, "status": "failed", "error": error, "logs": logs}
    )

    result = run("runs", "show", str(RUN["id"]))

    assert "Error  a/syncs/b.py:3: boom" in result.out
    assert "careful" in result.out
    assert str(RUN["temporal_url"]) in result.out


def test_run_under_way_shows_how_far_it_is(server: HTTPServer, run: Run) -> None:
    progress = {"pages": 31, "requests": 0, "cursor": "c32"}
    progress |= {"items": 300, "items_done": 12, "items_failed": 1}
    server.expect_request(f"/runs/{RUN['id']}").respond_with_json(
        {
            **RUN,
            "progress": progress,
            "history": {"events": 1234, "bytes": 2**20},
            "checkpoints": {"from": None, "to": {"page": 31}},
            "next_run_at": "2026-11-23T06:27:11Z",
            "logs": [],
        }
    )

    result = run("runs", "show", str(RUN["id"]))

    assert "31 pages, next page c32, 12 of 300 items (1 failed)" in result.out
    assert "1,234 events, 1.0 MB" in result.out
    assert '{"page": 31}' in result.out
    assert "Next run" in result.out


def test_text_of_others_does_not_control_the_terminal(server: HTTPServer, run: Run) -> None:
    server.expect_request(f"/runs/{RUN['id']}").respond_with_json(
        {**RUN, "error": {"message": "\x1b[2Jgone [red]x[/red]"}, "logs": []}
    )

    result = run("runs", "show", str(RUN["id"]))

    assert "\x1b" not in result.out
    assert "[red]x[/red]" in result.out


def test_input_can_be_piped(server: HTTPServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}'))
    server.expect_request(
        "/action/trigger", json={"action_name": "x", "input": {"a": 1}}
    ).respond_with_json({})

    assert run("actions", "trigger", "pay", "x", "-c", "acme", "--input", "-").code == 0


def test_json_keeps_what_is_not_ascii(server: HTTPServer, run: Run) -> None:
    server.expect_request("/integrations").respond_with_data(
        json.dumps({"data": [{"display_name": "Köln"}]}), content_type="application/json"
    )

    assert "Köln" in run("integrations", "list", "--json").out


VARIABLES = [{"name": "API_KEY", "value": "s3cret"}, {"name": "REGION", "value": "eu"}]


def test_variables_are_listed_without_their_values(server: HTTPServer, run: Run) -> None:
    server.expect_request("/environment-variables").respond_with_json(VARIABLES)

    result = run("env", "list")

    assert "API_KEY" in result.out
    assert "s3cret" not in result.out
    assert "s3cret" in run("env", "list", "--show-values").out
    assert run("env", "list", "--json").json == VARIABLES


def test_variable_is_set_from_a_file(server: HTTPServer, run: Run, elsewhere: Path) -> None:
    (elsewhere / "key.pem").write_text("line 1\nline 2\n")
    server.expect_request(
        "/environment-variables/KEY", method="PUT", json={"value": "line 1\nline 2\n"}
    ).respond_with_json({"success": True})

    result = run("env", "set", "KEY", "@key.pem")

    assert (result.code, result.out) == (0, "Set the variable KEY.\n")


def test_variable_is_deleted(server: HTTPServer, run: Run) -> None:
    server.expect_request("/environment-variables/KEY", method="DELETE").respond_with_json(
        {"success": True}
    )

    assert run("env", "delete", "KEY").out == "Deleted the variable KEY.\n"


HELD = {
    "model": "Customer",
    "live": 2000,
    "absent": 1900,
    "held_at": "2026-11-22T06:27:11Z",
    "run_id": "r1",
}


@pytest.mark.parametrize(
    ("options", "wanted", "deleted", "said"),
    [
        ((), {"dismiss": False}, {"Customer": 1900}, "Deleted 1,900 Customer."),
        ((), {"dismiss": False}, None, "are being deleted"),
        (
            ("--variant", "eu", "--model", "Customer", "--dismiss"),
            {"variant": "eu", "model": "Customer", "dismiss": True},
            {},
            "Dismissed: the records stay.",
        ),
    ],
)
def test_held_deletes_are_confirmed_or_dismissed(
    server: HTTPServer,
    run: Run,
    options: tuple[str, ...],
    wanted: dict[str, Any],
    deleted: dict[str, int] | None,
    said: str,
) -> None:
    body = {"provider_config_key": "pay", "sync": "customers", "connection_id": "acme", **wanted}
    server.expect_request("/sync/confirm-deletes", method="POST", json=body).respond_with_json(
        {"success": True, "deleted": deleted}
    )

    assert said in run("syncs", "confirm-deletes", "pay", "customers", "acme", *options).out


EVENT = {
    "id": "3f0f8d6e-5b0c-4f0e-9f64-0d6f3a1c2b11",
    "integration": "github",
    "delivery_id": "d-1",
    "types": ["issues", "issues.opened"],
    "received_at": "2026-11-22T06:27:11Z",
    "status": "failed",
    "tasks": 1,
    "failed": 1,
    "forwarded": 0,
}


def test_webhooks_of_providers_are_listed_and_shown(server: HTTPServer, run: Run) -> None:
    server.expect_request(
        "/webhooks/events", query_string={"status": "failed", "limit": "20"}
    ).respond_with_json({"events": [EVENT], "next_cursor": "abc"})
    task = {
        "connection_id": "acme",
        "sync": "issues",
        "status": "failed",
        "run_id": "r-1",
        "error": {"type": "x", "message": "it broke"},
        "created_at": "2026-11-22T06:27:11Z",
        "finished_at": "2026-11-22T06:27:12Z",
    }
    detail = {**EVENT, "headers": {}, "payload": {"a": 1}, "handling": [task]}
    server.expect_request(f"/webhooks/events/{EVENT['id']}").respond_with_json(detail)

    listed = run("webhooks", "events", "--status", "failed")
    shown = run("webhooks", "events", EVENT["id"])

    assert EVENT["id"] in listed.out
    assert "--cursor abc" in listed.err
    assert "it broke" in shown.out
    assert '"a": 1' in shown.out


def test_webhooks_of_providers_are_replayed(server: HTTPServer, run: Run) -> None:
    for name in ("a", "b"):
        server.expect_request(f"/webhooks/events/{name}/replay", method="POST").respond_with_json(
            EVENT
        )

    assert run("webhooks", "replay", "a", "b").code == 0
    assert run("webhooks", "replay").code == 2


def test_webhook_secret_of_an_integration_is_changed(
    server: HTTPServer, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("hush\n")
    server.expect_request(
        "/integrations/github",
        method="PATCH",
        json={
            "credentials": {"webhook_secret": "hush"},
            "forward_webhooks": True,
            "webhook_rules": {"signature": None},
        },
    ).respond_with_json({"data": {}})

    result = run(
        "integrations",
        "change",
        "github",
        "--webhook-secret",
        f"@{file}",
        "--forward-webhooks",
        "--webhook-rules",
        '{"signature": null}',
    )

    assert result.code == 0, result.err
    assert run("integrations", "change", "github").code == 2


def test_credentials_of_an_integration_are_masked(server: HTTPServer, run: Run) -> None:
    data = {
        "unique_key": "github",
        "provider": "github-pat",
        "display_name": "GitHub",
        "created_at": "2026-11-22T06:27:11Z",
        "forward_webhooks": False,
        "webhook_url": "https://perdure.test/webhook/dev/github",
        "webhook_rules": None,
        "credentials": {"webhook_secret": "hush"},
    }
    server.expect_request("/integrations/github").respond_with_json({"data": data})

    masked = run("integrations", "show", "github")
    clear = run("integrations", "show", "github", "--show-credentials")

    assert "https://perdure.test/webhook/dev/github" in masked.out
    assert "hush" not in masked.out
    assert "hush" in clear.out
