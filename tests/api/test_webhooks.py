"""Settings and deliveries of webhooks over REST."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import uuid
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from tests.api.calls import client_of, error_of
from tests.support.receiver import Receiver
from tests.support.secret_texts import SECRETS, URL_COLUMNS
from tests.support.stack import Stack

DEFAULTS = {
    "primary_url": None,
    "secondary_url": None,
    "on_auth_creation": True,
    "on_auth_refresh_error": True,
    "on_sync_completion_always": False,
    "on_sync_error": True,
    "on_async_action_completion": True,
    "signing_key_created_at": None,
}
ROTATE = "/environment/webhook-signing-key/rotate"


@pytest.fixture
def receiver(httpserver: HTTPServer) -> Receiver:
    return Receiver(httpserver)


@pytest.fixture
async def telling(live: httpx.AsyncClient, receiver: Receiver) -> httpx.AsyncClient:
    """A client whose environment tells `receiver`, with the integration `pay`."""
    new = {"provider": "stripe-api-key", "unique_key": "pay"}
    assert (await live.post("/integrations", json=new)).status_code == 200
    urls = {"primary_url": receiver.url}
    assert (await live.patch("/environment/webhooks", json=urls)).status_code == 200
    return live


async def connect(client: httpx.AsyncClient, connection_id: str = "acme", **more: Any) -> None:
    body = {
        "provider_config_key": "pay",
        "connection_id": connection_id,
        "credentials": {"type": "API_KEY", "apiKey": "hush-hush"},
        **more,
    }
    answer = await client.post("/connections", json=body)
    assert answer.status_code == 200, answer.text


async def deliveries(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/webhooks/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["deliveries"]


async def until(client: httpx.AsyncClient, status: str, count: int = 1) -> list[dict[str, Any]]:
    async with asyncio.timeout(30):
        while len(found := await deliveries(client, status=status)) < count:
            await asyncio.sleep(0.05)
    return found


async def test_settings_begin_with_defaults_and_change_by_name(api: httpx.AsyncClient) -> None:
    assert (await api.get("/environment/webhooks")).json() == DEFAULTS

    first = {"primary_url": "https://app.test/hooks?x=1", "on_sync_error": False}
    assert (await api.patch("/environment/webhooks", json=first)).json() == DEFAULTS | first
    second = {"secondary_url": "http://other.test", "on_sync_completion_always": True}
    assert (await api.patch("/environment/webhooks", json=second)).json() == (
        DEFAULTS | first | second
    )
    removed = {"primary_url": None}
    await api.patch("/environment/webhooks", json=removed)
    assert (await api.get("/environment/webhooks")).json() == DEFAULTS | first | second | removed


@pytest.mark.parametrize(
    "change",
    [
        {"primary_url": "app.test/hooks"},
        {"primary_url": "ftp://app.test"},
        {"primary_url": "https://user:hush-hush@app.test"},
        {"secondary_url": ""},
        {"secondary_url": "https://"},
        {"secondary_url": f"https://app.test/{'x' * 2048}"},
        {"on_sync_error": None},
        {"on_everything": True},
    ],
)
async def test_unusable_settings_are_refused(api: httpx.AsyncClient, change: Any) -> None:
    answer = await api.patch("/environment/webhooks", json=change)
    assert error_of(answer) == (400, "invalid_body")
    assert "hush-hush" not in answer.text
    assert (await api.get("/environment/webhooks")).json() == DEFAULTS


async def test_settings_need_a_key_and_are_those_of_the_environment(
    api: httpx.AsyncClient, stranger: httpx.AsyncClient, app: Any, container: Any
) -> None:
    await api.patch("/environment/webhooks", json={"primary_url": "https://app.test"})
    other = await Stack.create(container)

    assert error_of(await stranger.get("/environment/webhooks"))[0] == 401
    assert error_of(await stranger.post(ROTATE))[0] == 401
    async with client_of(app, other.secret_key) as client:
        assert (await client.get("/environment/webhooks")).json() == DEFAULTS


async def test_signing_key_is_shown_when_it_is_made_and_signs_from_then_on(
    telling: httpx.AsyncClient, receiver: Receiver
) -> None:
    first = (await telling.post(ROTATE)).json()["signing_key"]
    second = (await telling.post(ROTATE)).json()["signing_key"]
    settings = await telling.get("/environment/webhooks")

    await connect(telling)
    (received,) = await receiver.until(1)

    assert len(first) == len(second) == 64
    assert first != second
    assert second not in settings.text
    assert settings.json()["signing_key_created_at"] is not None
    expected = hmac.new(second.encode(), received.body, hashlib.sha256).hexdigest()
    assert received.headers["X-Nango-Hmac-Sha256"] == expected
    # What `verifyWebhookSignature` of Nango's client computes over the parsed body.
    again = json.dumps(json.loads(received.body), separators=(",", ":"), ensure_ascii=False)
    assert received.headers["X-Nango-Signature"] == (
        hashlib.sha256(f"{second}{again}".encode()).hexdigest()
    )


async def test_signing_key_stands_encrypted_in_the_table(stack: Stack) -> None:
    database = stack.container.database
    key = await database.webhook_settings.rotate_signing_key(stack.environment.id)

    stored = await database.pool.fetchval(
        "SELECT signing_key FROM webhook_settings WHERE environment_id = $1", stack.environment.id
    )

    assert key.encode() not in stored
    assert await database.webhook_settings.signing_key(stack.environment.id) == key


async def test_new_connection_and_new_credentials_are_told(
    telling: httpx.AsyncClient, receiver: Receiver
) -> None:
    end_user = {"id": "u1", "email": "u@example.com", "organization": {"id": "o1"}}
    await connect(telling, tags={"team": "a"}, end_user=end_user)
    await receiver.until(1)
    await connect(telling)
    first, second = await receiver.until(2)

    assert first.payload | {"operation": "override"} == second.payload
    assert first.payload["operation"] == "creation"
    assert first.payload["tags"] == {"team": "a"}
    assert first.payload["endUser"] == {
        "endUserId": "u1",
        "endUserEmail": "u@example.com",
        "organizationId": "o1",
        "tags": {},
    }
    assert (first.payload["provider"], first.payload["authMode"]) == ("stripe-api-key", "API_KEY")


async def test_url_of_a_connection_is_set_shown_changed_and_removed(
    telling: httpx.AsyncClient, receiver: Receiver
) -> None:
    own = Receiver(receiver.server, "/own")
    path, query = "/connections/acme", {"provider_config_key": "pay"}

    async def shown() -> str | None:
        return (await telling.get(path, params=query)).json()["webhook_url_override"]

    await connect(telling, webhook_url_override=own.url)
    await own.until(1)
    assert await shown() == own.url
    await connect(telling)
    assert await shown() == own.url, "what is left out stays"
    change = {"webhook_url_override": receiver.url, "tags": {"a": "b"}}
    answer = await telling.patch(path, params=query, json=change)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert await shown() == receiver.url
    await telling.patch(path, params=query, json={"end_user": {"id": "u1"}})
    assert await shown() == receiver.url
    await telling.patch(path, params=query, json={"webhook_url_override": None})
    assert await shown() is None
    kept = (await telling.get(path, params=query)).json()
    assert (kept["tags"], kept["end_user"]) == ({"a": "b"}, {"id": "u1"})
    await own.until(2)
    assert receiver.asked == []


async def test_connection_that_does_not_exist_or_unusable_url_is_refused(
    telling: httpx.AsyncClient,
) -> None:
    path, query = "/connections/acme", {"provider_config_key": "pay"}
    change = {"webhook_url_override": "https://app.test"}
    missing = await telling.patch(path, params=query, json=change)
    assert error_of(missing) == (400, "unknown_connection")
    await connect(telling)
    bad = await telling.patch(path, params=query, json={"webhook_url_override": "nowhere"})
    assert error_of(bad) == (400, "invalid_body")


async def test_deliveries_are_listed_newest_first_in_pages_and_by_what_they_are(
    telling: httpx.AsyncClient, receiver: Receiver
) -> None:
    receiver.before = lambda number: Response("", 410) if number == 2 else None
    for name in ("a", "b", "c"):
        await connect(telling, name)
        async with asyncio.timeout(30):
            while await deliveries(telling, status="pending"):
                await asyncio.sleep(0.05)

    assert [one["connection_id"] for one in await deliveries(telling)] == ["c", "b", "a"]
    first = (await telling.get("/webhooks/deliveries", params={"limit": 2})).json()
    rest = {"limit": 2, "cursor": first["next_cursor"]}
    second = (await telling.get("/webhooks/deliveries", params=rest)).json()
    assert [one["connection_id"] for one in first["deliveries"]] == ["c", "b"]
    assert [one["connection_id"] for one in second["deliveries"]] == ["a"]
    assert second["next_cursor"] is None
    (failed,) = await deliveries(telling, status="failed")
    assert (failed["connection_id"], failed["last_status"]) == ("b", 410)
    assert failed["last_error"] == "the receiver answered 410"
    assert len(await deliveries(telling, type="auth", integration="pay", connection_id="a")) == 1
    assert await deliveries(telling, type="sync") == []
    assert await deliveries(telling, run_id="x") == []
    for query in ({"cursor": "x"}, {"limit": 0}, {"status": "lost"}, {"type": "x"}):
        bad = await telling.get("/webhooks/deliveries", params=query)
        assert error_of(bad)[0] == 400


async def test_delivery_is_shown_with_what_it_says_and_its_attempts(
    telling: httpx.AsyncClient, receiver: Receiver, stranger: httpx.AsyncClient
) -> None:
    receiver.before = lambda number: Response("", 500) if number == 1 else None
    token = SECRETS.shown("hush-hush-receiver", *URL_COLUMNS)
    url = f"{receiver.url}?token={token}&page=1"
    await telling.patch("/environment/webhooks", json={"primary_url": url})
    await connect(telling)
    (listed,) = await until(telling, "delivered")

    shown = (await telling.get(f"/webhooks/deliveries/{listed['id']}")).json()

    assert listed.items() <= shown.items()
    assert shown["payload"] == receiver.taken[0].payload
    assert [(one["status"], one["error"]) for one in shown["history"]] == [
        (500, "the receiver answered 500"),
        (200, None),
    ]
    assert shown["url"].endswith("?token=***&page=1"), shown["url"]
    assert shown["attempts"] == 2
    assert shown["workflow_id"].endswith(listed["id"])


async def test_failed_delivery_is_sent_again_under_its_id(
    telling: httpx.AsyncClient, receiver: Receiver
) -> None:
    receiver.before = lambda number: Response("", 400) if number == 1 else None
    await connect(telling)
    (failed,) = await until(telling, "failed")

    answer = await telling.post(f"/webhooks/deliveries/{failed['id']}/redeliver")
    await receiver.until(1)
    (delivered,) = await until(telling, "delivered")

    assert (answer.status_code, answer.json()["status"]) == (200, "pending")
    assert delivered["id"] == failed["id"]
    assert delivered["attempts"] == 2
    assert {one.delivery for one in receiver.asked} == {failed["id"]}


async def test_delivered_one_can_be_sent_again(
    telling: httpx.AsyncClient, receiver: Receiver
) -> None:
    await connect(telling)
    (delivered,) = await until(telling, "delivered")

    await telling.post(f"/webhooks/deliveries/{delivered['id']}/redeliver")

    first, second = await receiver.until(2)
    assert first.delivery == second.delivery
    assert first.body == second.body


async def test_pending_one_is_tried_at_once(telling: httpx.AsyncClient, receiver: Receiver) -> None:
    receiver.before = lambda n: Response("", 503, {"Retry-After": "3600"}) if n == 1 else None
    await connect(telling)
    async with asyncio.timeout(30):
        while not (pending := await deliveries(telling, status="pending"))[0]["attempts"]:
            await asyncio.sleep(0.05)

    await telling.post(f"/webhooks/deliveries/{pending[0]['id']}/redeliver")

    await receiver.until(1)
    assert len(await until(telling, "delivered")) == 1


async def test_delivery_of_nobody_or_of_another_environment_is_unknown(
    telling: httpx.AsyncClient, receiver: Receiver, app: Any, container: Any
) -> None:
    await connect(telling)
    (delivered,) = await until(telling, "delivered")
    other = await Stack.create(container)

    async with client_of(app, other.secret_key) as client:
        assert await deliveries(client) == []
        for call in (client.get, telling.get):
            name = delivered["id"] if call == client.get else str(uuid.uuid4())
            answer = await call(f"/webhooks/deliveries/{name}")
            assert error_of(answer) == (404, "unknown_delivery")
        answer = await client.post(f"/webhooks/deliveries/{delivered['id']}/redeliver")
        assert error_of(answer) == (404, "unknown_delivery")
    assert error_of(await telling.get("/webhooks/deliveries/1")) == (400, "invalid_uri_params")


async def test_without_temporal_nothing_is_sent_again_and_settings_can_be_changed(
    offline: httpx.AsyncClient, environment: Stack
) -> None:
    answer = await offline.patch("/environment/webhooks", json={"primary_url": "https://a.test"})
    assert answer.status_code == 200
    assert (await offline.post(ROTATE)).status_code == 200
    assert (await offline.get("/webhooks/deliveries")).json()["deliveries"] == []
