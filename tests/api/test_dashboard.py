"""The dashboard guards its forms and its sessions, and answers in HTML whatever happens."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from api.dashboard.tickets import make_ticket, seal
from tests.support.events import every_event
from tests.support.stack import Stack

SIGN_IN = "/dashboard/sign-in"


@pytest.fixture
def app(own_app: FastAPI) -> FastAPI:
    """How often somebody signs in is counted."""
    return own_app


@pytest.fixture
async def person(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with a browser, and an address of their own."""
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


@pytest.fixture
async def signed_in(person: httpx.AsyncClient, environment: Stack) -> httpx.AsyncClient:
    """The same, with the key of `environment`."""
    answer = await person.post(SIGN_IN, data={"key": environment.secret_key})
    assert answer.status_code == 303
    return person


async def token_of(person: httpx.AsyncClient) -> str:
    page = (await person.get("/dashboard/settings/variables")).text
    found = re.search(r'name="token" value="([^"]+)"', page)
    assert found
    return found.group(1)


async def test_root_leads_to_the_dashboard_and_that_to_the_sign_in(
    person: httpx.AsyncClient,
) -> None:
    assert (await person.get("/")).headers["location"] == "/dashboard/"
    assert (await person.get("/dashboard")).headers["location"] == "/dashboard/"
    answer = await person.get("/dashboard/runs?status=failed")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{SIGN_IN}?next=%2Fdashboard%2Fruns%3Fstatus%3Dfailed"
    assert (await person.head("/dashboard/sign-in")).status_code == 200
    assert (await person.post("/dashboard/runs/r/cancel")).headers["location"] == SIGN_IN


async def test_key_stands_in_the_cookie_only_encrypted(
    signed_in: httpx.AsyncClient, environment: Stack
) -> None:
    (cookie,) = [one for one in signed_in.cookies.jar if one.name == "perdure_session"]
    assert environment.secret_key not in str(cookie.value)
    assert cookie.path == "/dashboard"
    assert cookie.has_nonstandard_attr("HttpOnly")


async def test_ticket_signs_in_and_nothing_else_does(
    person: httpx.AsyncClient, environment: Stack
) -> None:
    ring = environment.container.keyring
    answer = await person.get(SIGN_IN, params={"ticket": make_ticket(ring, "wrong")})
    assert (await person.get("/dashboard/")).headers["location"].startswith(SIGN_IN)
    session = seal(ring, {"key": environment.secret_key, "token": "t"}, b"another purpose")
    for ticket in (session, "nonsense", "", "a" * 2_001):
        person.cookies.clear()
        answer = await person.get(SIGN_IN, params={"ticket": ticket})
        assert "perdure_session" not in answer.cookies

    answer = await person.get(SIGN_IN, params={"ticket": make_ticket(ring, environment.secret_key)})

    assert answer.headers["location"] == "/dashboard/"
    assert (await person.get("/dashboard/")).status_code == 200


async def test_cookie_that_was_tampered_with_opens_nothing(signed_in: httpx.AsyncClient) -> None:
    value = signed_in.cookies["perdure_session"]
    for forged in (value[:-8] + "AAAAAAA=", "nonsense", ""):
        headers = {"cookie": f"perdure_session={forged}"}
        signed_in.cookies.clear()
        answer = await signed_in.get("/dashboard/", headers=headers)
        assert answer.status_code == 303, forged


async def test_session_is_good_for_pages_only(signed_in: httpx.AsyncClient) -> None:
    session = signed_in.cookies["perdure_session"]
    answer = await signed_in.get("/connections", headers={"cookie": f"perdure_session={session}"})
    assert answer.status_code == 401


async def test_form_without_the_token_of_the_session_is_refused(
    signed_in: httpx.AsyncClient, environment: Stack
) -> None:
    for sent in ({}, {"token": ""}, {"token": "wrong"}):
        form = {"name": "STOLEN", "value": "x", **sent}
        answer = await signed_in.post("/dashboard/settings/variables", data=form)
        assert answer.status_code == 403
        assert "another session" in answer.text
    variables = environment.container.database.variables
    assert list(await variables.all(environment.environment.id)) == []


async def test_form_of_another_site_is_refused(signed_in: httpx.AsyncClient) -> None:
    form = {"token": await token_of(signed_in), "name": "REGION", "value": "x"}
    for origin in ("https://evil.example", "null", "http://api.evil.example"):
        headers = {"origin": origin}
        answer = await signed_in.post("/dashboard/settings/variables", data=form, headers=headers)
        assert answer.status_code == 403, origin
        answer = await signed_in.post(SIGN_IN, data={"key": "x"}, headers=headers)
        assert answer.status_code == 403, origin

    headers = {"origin": "http://api"}
    answer = await signed_in.post("/dashboard/settings/variables", data=form, headers=headers)
    assert answer.status_code == 303


async def test_keys_cannot_be_guessed_quickly(
    person: httpx.AsyncClient, environment: Stack
) -> None:
    for _ in range(20):
        assert (await person.post(SIGN_IN, data={"key": "wrong"})).status_code == 401

    answer = await person.post(SIGN_IN, data={"key": environment.secret_key})

    assert answer.status_code == 429
    assert "Too many attempts" in answer.text


async def test_whoever_has_no_key_cannot_send_much(person: httpx.AsyncClient) -> None:
    answer = await person.post(SIGN_IN, data={"key": "k" * 300_000})
    assert answer.status_code in (400, 413)
    answer = await person.post("/dashboard/settings/variables", data={"value": "v" * 300_000})
    assert answer.headers["location"] == SIGN_IN


async def test_pages_forbid_what_is_not_ours(signed_in: httpx.AsyncClient) -> None:
    answer = await signed_in.get("/dashboard/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "style=" not in answer.text
    assert "onclick" not in answer.text


async def test_missing_and_broken_pages_are_html(
    signed_in: httpx.AsyncClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await signed_in.get("/dashboard/nowhere")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert (await signed_in.get("/dashboard/connections?page=nonsense")).status_code == 200
    assert (await signed_in.get("/dashboard/deployments/nonsense")).status_code in (400, 404)


async def test_fault_of_ours_is_told_with_an_id_and_without_our_insides(
    signed_in: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("our insides")

    monkeypatch.setattr("api.dashboard.pages.runs.Page", fail)
    with every_event() as events:
        answer = await signed_in.get("/dashboard/runs")

    request_id = answer.headers["x-request-id"]
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert request_id in answer.text
    assert "our insides" not in answer.text
    [told] = [event for event in events if event["log_level"] == "error"]
    assert told["request_id"] == request_id
    assert "our insides" in told["exception"]


async def test_text_from_elsewhere_is_only_text(
    signed_in: httpx.AsyncClient, environment: Stack
) -> None:
    script = "<script>alert(1)</script>"
    form = {"token": await token_of(signed_in), "name": script, "scope.environment:mcp": "yes"}
    await signed_in.post("/dashboard/settings/keys", data=form)

    page = (await signed_in.get("/dashboard/settings/keys")).text

    assert script not in page
    assert "&lt;script&gt;" in page


async def test_signing_out_takes_the_cookie_back(signed_in: httpx.AsyncClient) -> None:
    form = {"token": await token_of(signed_in)}
    answer = await signed_in.post("/dashboard/sign-out", data=form)
    assert answer.status_code == 303
    assert "perdure_session" not in signed_in.cookies


async def test_files_of_the_pages_are_kept_by_browsers(person: httpx.AsyncClient) -> None:
    for name in ("dashboard.css", "dashboard.js", "idiomorph.js", "icon.svg"):
        answer = await person.get(f"/dashboard/assets/{name}")
        assert answer.status_code == 200
        assert "max-age" in answer.headers["cache-control"]
    assert (await person.get("/dashboard/assets/../app.py")).status_code in (303, 401, 404)
    assert (await person.get("/favicon.ico")).headers["location"].endswith("icon.svg")
