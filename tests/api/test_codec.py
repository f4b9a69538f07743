"""The codec endpoint of the Temporal UI: who gets payloads in clear, and from where."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads

from activities.integrations import EnvironmentVariables
from api.codec_session import open_session
from perdure.app.container import Container
from perdure.crypto.keyring import KeyRing, new_key
from perdure.temporal.codec import EncryptionCodec
from perdure.temporal.payloads import ScriptFiles
from tests.api.calls import client_of, error_of
from tests.api.conftest import UI_URL
from tests.support.events import every_event
from tests.support.stack import Stack

SECRET = {"TOKEN": "hush-hush-value"}


async def payloads_of(container: Container, *values: Any) -> dict[str, Any]:
    """What a history holds of these values."""
    encoded = await container.temporal.data_converter.encode(values)
    return MessageToDict(Payloads(payloads=encoded))


async def decoded(client: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> list[Any]:
    answer = await client.post("/codec/decode", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return [json.loads(base64.b64decode(one["data"])) for one in answer.json()["payloads"]]


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client that keeps cookies and has no key."""
    async with client_of(app, None) as client:
        yield client


async def test_secret_and_open_payloads_are_shown_in_their_order(
    container: Container, api: httpx.AsyncClient
) -> None:
    body = await payloads_of(container, "open", EnvironmentVariables(variables=SECRET), 7)
    assert b"hush-hush" not in base64.b64decode(body["payloads"][1]["data"])

    assert await decoded(api, body) == ["open", {"variables": SECRET}, 7]


async def test_payloads_outside_of_the_history_are_fetched(
    container: Container, api: httpx.AsyncClient
) -> None:
    large = {"NAME": "x" * 100_000}
    body = await payloads_of(container, EnvironmentVariables(variables=large))
    assert len(json.dumps(body)) < 2_000

    assert await decoded(api, body) == [{"variables": large}]


async def test_payloads_too_large_to_show_stay_references(
    container: Container, api: httpx.AsyncClient
) -> None:
    files = ScriptFiles(bundle="b", path="p", files={"f": "x" * 2_000_000})
    body = await payloads_of(container, files)

    answer = await api.post("/codec/decode", json=body)

    assert answer.json() == body


async def test_what_no_key_reads_says_so_and_hides_nothing_else(
    api: httpx.AsyncClient,
) -> None:
    foreign = EncryptionCodec(KeyRing.parse(new_key()), "all")
    clear = Payload(metadata={"encoding": b"json/plain"}, data=b'"open"')
    (sealed,) = await foreign.encode([clear])
    body = MessageToDict(Payloads(payloads=[sealed, clear]))

    lost, shown = await decoded(api, body)

    assert "PERDURE_ENCRYPTION_KEYS" in lost
    assert shown == "open"


async def test_a_body_that_is_none_is_refused(api: httpx.AsyncClient) -> None:
    for body in ({"payloads": "x"}, {"nothing": []}, {"payloads": [{"data": 5}]}):
        assert error_of(await api.post("/codec/decode", json=body)) == (400, "invalid_body")


async def test_nobody_without_a_key_gets_anything(
    app: FastAPI, container: Container, api: httpx.AsyncClient, browser: httpx.AsyncClient
) -> None:
    body = await payloads_of(container, EnvironmentVariables(variables=SECRET))
    answer = await browser.post("/codec/decode", json=body)
    assert error_of(answer) == (401, "missing_auth_header")

    scoped = {"name": "k", "scopes": ["environment:*"]}
    key = (await api.post("/environment/api-keys", json=scoped)).json()["api_key"]
    async with client_of(app, key) as client:
        assert error_of(await client.post("/codec/decode", json=body)) == (403, "forbidden")


async def test_a_browser_that_was_given_a_key_may_decrypt_until_it_is_told_not_to(
    container: Container, environment: Stack, browser: httpx.AsyncClient
) -> None:
    body = await payloads_of(container, EnvironmentVariables(variables=SECRET))
    page = await browser.get("/codec")
    assert page.headers["content-type"].startswith("text/html")
    assert "form-action 'self'" in page.headers["content-security-policy"]

    begun = await browser.post("/codec/session", data={"key": environment.secret_key})
    assert begun.status_code == 303
    cookie = begun.headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/codec", "Max-Age=43200"):
        assert attribute in cookie
    assert environment.secret_key not in cookie
    assert await decoded(browser, body) == [{"variables": SECRET}]
    # It opens nothing else.
    assert (await browser.get("/runs")).status_code == 401

    await browser.post("/codec/session", data={})
    assert (await browser.post("/codec/decode", json=body)).status_code == 401


async def test_a_session_ends_with_its_key(
    api: httpx.AsyncClient, container: Container, browser: httpx.AsyncClient
) -> None:
    body = await payloads_of(container, "open")
    scoped = {"name": "k", "scopes": ["account:payloads:decode"]}
    made = (await api.post("/environment/api-keys", json=scoped)).json()
    await browser.post("/codec/session", data={"key": made["api_key"]})
    assert await decoded(browser, body) == ["open"]

    await api.delete(f"/environment/api-keys/{made['id']}")

    assert (await browser.post("/codec/decode", json=body)).status_code == 401


async def test_a_session_may_stand_in_the_address(
    container: Container, environment: Stack, stranger: httpx.AsyncClient
) -> None:
    body = await payloads_of(container, EnvironmentVariables(variables=SECRET))
    session = open_session(container.keyring, environment.secret_key, seconds=None)
    over = open_session(container.keyring, environment.secret_key, seconds=-1)

    with every_event() as logs:
        answer = await stranger.post(f"/codec/{session}/decode", json=body)

    assert b"hush-hush-value" in base64.b64decode(answer.json()["payloads"][0]["data"])
    assert any(event["event"] == "request" for event in logs)
    assert session not in str(logs)
    for refused in (over, f"{session[:-8]}AAAAAAAA", "made-up"):
        answer = await stranger.post(f"/codec/{refused}/decode", json=body)
        assert answer.status_code == 401


@pytest.mark.parametrize("key", ["hunter2", "6f1d1a3e-8c57-4f0e-9d5b-2f6c1c1f8a44"])
async def test_a_wrong_key_begins_no_session(browser: httpx.AsyncClient, key: str) -> None:
    answer = await browser.post("/codec/session", data={"key": key})

    assert answer.headers["location"] == "/codec?said=refused"
    assert "set-cookie" not in answer.headers
    assert "no key of this server" in (await browser.get(answer.headers["location"])).text


@pytest.mark.parametrize("value", ["", "x", "ä", "AQNrMQ==", "a;b=c"])
async def test_a_made_up_cookie_counts_as_none(stranger: httpx.AsyncClient, value: str) -> None:
    headers = {b"cookie": b"perdure_codec=" + value.encode()}

    answer = await stranger.post("/codec/decode", json={"payloads": []}, headers=headers)

    assert answer.status_code == 401


async def test_only_the_ui_may_call_from_a_browser(
    api: httpx.AsyncClient, stranger: httpx.AsyncClient
) -> None:
    def asking(origin: str) -> dict[str, str]:
        return {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,x-namespace",
        }

    allowed = await stranger.options("/codec/decode", headers=asking(UI_URL))
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == UI_URL
    assert allowed.headers["access-control-allow-credentials"] == "true"
    for origin in ("http://evil.example", "null", f"{UI_URL}.evil.example"):
        refused = await stranger.options("/codec/decode", headers=asking(origin))
        assert "access-control-allow-origin" not in refused.headers
        called = await api.post("/codec/decode", json={"payloads": []}, headers={"origin": origin})
        assert "access-control-allow-origin" not in called.headers
    # The UI reads errors, too.
    failed = await stranger.post("/codec/decode", json={}, headers={"origin": UI_URL})
    assert failed.headers["access-control-allow-origin"] == UI_URL
    elsewhere = await stranger.options("/runs", headers=asking(UI_URL))
    assert "access-control-allow-credentials" not in elsewhere.headers
