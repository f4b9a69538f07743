"""Webhooks of providers over HTTP: challenges, lists, secrets, and what is shown of them."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from perdure.app.container import Container
from tests.api.calls import client_of, error_of
from tests.support.stack import Stack


async def integrate(api: httpx.AsyncClient, provider: str, **more: Any) -> None:
    new = {"provider": provider, "unique_key": provider, **more}
    answer = await api.post("/integrations", json=new)
    assert answer.status_code == 200, answer.text


def hub_signature(body: bytes, secret: str = "hush-hush") -> dict[str, str]:
    mac = hmac.digest(secret.encode(), body, "sha256").hex()
    return {"content-type": "application/json", "x-hub-signature-256": f"sha256={mac}"}


async def test_environment_shows_its_public_name(
    api: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    await integrate(api, "github-pat", webhook_rules={"signature": None})
    public = (await api.get("/environment")).json()["uuid"]

    assert (await stranger.post(f"/webhook/{public}/github-pat", json={})).status_code == 200


async def test_secret_is_set_and_shown_only_when_asked_for(api: httpx.AsyncClient) -> None:
    await integrate(api, "github-pat", credentials={"webhook_secret": "hush-hush"})

    assert "hush-hush" not in (await api.get("/integrations")).text
    plain = (await api.get("/integrations/github-pat")).json()["data"]
    assert {"webhook_url", "credentials"}.isdisjoint(plain)
    query = {"include": ["webhook", "credentials"]}
    shown = (await api.get("/integrations/github-pat", params=query)).json()["data"]
    assert shown["credentials"] == {"webhook_secret": "hush-hush"}
    assert shown["webhook_url"] is None

    change = {"credentials": {"webhook_secret": None}, "forward_webhooks": True}
    changed = await api.patch("/integrations/github-pat", json=change)
    assert changed.json()["data"]["forward_webhooks"] is True
    shown = (await api.get("/integrations/github-pat", params=query)).json()["data"]
    assert shown["credentials"] is None


async def test_rules_that_are_not_valid_are_refused_with_their_place(
    api: httpx.AsyncClient,
) -> None:
    await integrate(api, "github-pat")
    rules = {"signature": {"algorithm": "md5"}}

    answer = await api.patch("/integrations/github-pat", json={"webhook_rules": rules})

    assert error_of(answer) == (400, "invalid_body")
    (fault,) = answer.json()["error"]["errors"]
    assert fault["path"] == ["webhook_rules", "signature", "algorithm"]


async def test_integration_that_does_not_exist_is_not_found(api: httpx.AsyncClient) -> None:
    for answer in (
        await api.get("/integrations/none"),
        await api.patch("/integrations/none", json={}),
    ):
        assert error_of(answer) == (404, "not_found")


async def test_webhook_without_a_secret_says_what_to_do(
    api: httpx.AsyncClient, stranger: httpx.AsyncClient, environment: Stack
) -> None:
    await integrate(api, "github-pat")
    path = f"/webhook/{environment.environment.name}/github-pat"

    answer = await stranger.post(path, json={})
    assert error_of(answer) == (401, "webhook_secret_missing")
    assert "credentials.webhook_secret" in answer.json()["error"]["message"]

    await api.patch("/integrations/github-pat", json={"webhook_rules": {"signature": None}})
    assert (await stranger.post(path, json={})).status_code == 200


async def test_slack_is_answered_its_challenge(
    api: httpx.AsyncClient, stranger: httpx.AsyncClient, environment: Stack
) -> None:
    await integrate(api, "slack", credentials={"webhook_secret": "hush-hush"})
    body = json.dumps({"type": "url_verification", "challenge": "3eZbrw1aB"}).encode()
    now = str(int(time.time()))
    mac = hmac.digest(b"hush-hush", f"v0:{now}:".encode() + body, "sha256").hex()
    headers = {
        "content-type": "application/json",
        "x-slack-request-timestamp": now,
        "x-slack-signature": f"v0={mac}",
    }
    path = f"/webhook/{environment.environment.name}/slack"

    answer = await stranger.post(path, content=body, headers=headers)
    assert (answer.status_code, answer.text) == (200, "3eZbrw1aB")
    forged = await stranger.post(path, content=body)
    assert error_of(forged) == (401, "webhook_signature_missing")
    assert (await api.get("/webhooks/events")).json()["events"] == []


async def test_notions_token_is_kept_once(
    api: httpx.AsyncClient, stranger: httpx.AsyncClient, environment: Stack
) -> None:
    await integrate(api, "notion")
    path = f"/webhook/{environment.environment.name}/notion"

    for token in ("secret_first", "secret_second"):
        answer = await stranger.post(path, json={"verification_token": token})
        assert answer.status_code == 200

    shown = (await api.get("/integrations/notion?include=credentials")).json()["data"]
    assert shown["credentials"]["webhook_secret"] == "secret_first"
    body = b'{"id": "1", "type": "page.created"}'
    mac = hmac.digest(b"secret_first", body, "sha256").hex()
    headers = {"content-type": "application/json", "x-notion-signature": f"sha256={mac}"}
    assert (await stranger.post(path, content=body, headers=headers)).status_code == 200


async def test_each_event_of_a_list_counts_and_a_repetition_does_not(
    api: httpx.AsyncClient, stranger: httpx.AsyncClient, environment: Stack
) -> None:
    await integrate(api, "hubspot", credentials={"webhook_secret": "hush-hush"})
    path = f"/webhook/{environment.environment.name}/hubspot"

    async def send(*ids: int) -> list[str]:
        same = {"subscriptionId": 1, "occurredAt": 5, "subscriptionType": "contact.creation"}
        items = [{**same, "eventId": number} for number in ids]
        body = json.dumps(items).encode()
        now = str(int(time.time() * 1000))
        signed = f"POSThttp://api{path}".encode() + body + now.encode()
        headers = {
            "content-type": "application/json",
            "x-hubspot-request-timestamp": now,
            "x-hubspot-signature-v3": base64.b64encode(
                hmac.digest(b"hush-hush", signed, "sha256")
            ).decode(),
        }
        answer = await stranger.post(path, content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-perdure-event"].split(",")

    first = await send(1, 2)
    second = await send(2, 3)

    assert first[1] == second[0]
    events = (await api.get("/webhooks/events?type=contact.creation")).json()["events"]
    assert [event["delivery_id"] for event in events] == ["1/3/5", "1/2/5", "1/1/5"]
    assert {event["status"] for event in events} == {"ignored"}


async def test_events_are_read_in_pages_by_their_own_environment_only(
    container: Container,
    app: FastAPI,
    api: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    environment: Stack,
) -> None:
    await integrate(api, "github-pat", credentials={"webhook_secret": "hush-hush"})
    for number in range(3):
        body = json.dumps({"number": number}).encode()
        path = f"/webhook/{environment.environment.name}/github-pat"
        answer = await stranger.post(path, content=body, headers=hub_signature(body))
        assert answer.status_code == 200

    first = (await api.get("/webhooks/events?limit=2")).json()
    second = (await api.get(f"/webhooks/events?limit=2&cursor={first['next_cursor']}")).json()
    assert (len(first["events"]), len(second["events"]), second["next_cursor"]) == (2, 1, None)
    event_id = second["events"][0]["id"]
    shown = (await api.get(f"/webhooks/events/{event_id}")).json()
    assert shown["payload"] == {"number": 0}
    other = await Stack.create(container)
    async with client_of(app, other.secret_key) as client:
        for answer in (
            await client.get(f"/webhooks/events/{event_id}"),
            await client.post(f"/webhooks/events/{event_id}/replay"),
        ):
            assert error_of(answer) == (404, "unknown_webhook_event")


@pytest.mark.parametrize("announced", [True, False])
async def test_webhook_that_is_too_large_is_refused(
    container: Container,
    api: httpx.AsyncClient,
    environment: Stack,
    monkeypatch: pytest.MonkeyPatch,
    announced: bool,
) -> None:
    monkeypatch.setattr("api.routers.incoming_webhooks._MAX_BODY_BYTES", 1000)
    await integrate(api, "github-pat", credentials={"webhook_secret": "hush-hush"})
    body = b"[" + b"1," * 600 + b"1]"

    async def parts() -> Any:
        yield body

    async with client_of(create_app(container), None) as client:
        answer = await client.post(
            f"/webhook/{environment.environment.name}/github-pat",
            content=body if announced else parts(),
            headers=hub_signature(body),
        )

    assert error_of(answer) == (400, "request_too_large")


async def test_webhook_is_taken_while_temporal_is_away(
    without_temporal: FastAPI, offline: httpx.AsyncClient, environment: Stack
) -> None:
    await integrate(offline, "github-pat", credentials={"webhook_secret": "hush-hush"})
    body = b"{}"

    async with client_of(without_temporal, None) as client:
        answer = await client.post(
            f"/webhook/{environment.environment.name}/github-pat",
            content=body,
            headers=hub_signature(body),
        )

    assert answer.status_code == 200
    assert len((await offline.get("/webhooks/events")).json()["events"]) == 1
