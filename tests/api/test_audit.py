"""What was done, to what and with which key stands in the audit, whatever came of it."""

from __future__ import annotations

import uuid

import httpx
import pytest
from fastapi import FastAPI

from api.scopes import RULES
from perdure.app.container import Container
from perdure.errors import UnavailableError
from tests.api.calls import client_of, error_of
from tests.support.stack import Stack


async def acts(api: httpx.AsyncClient, query: str = "") -> list[tuple]:
    answer = await api.get(f"/audit{query}")
    assert answer.status_code == 200, answer.text
    return [
        (one["key_name"], one["act"], one["subject"], one["status"], one["error"])
        for one in answer.json()["data"]
    ]


async def test_acts_are_noted_with_key_subject_and_outcome(
    app: FastAPI, api: httpx.AsyncClient
) -> None:
    body = {"name": "ci", "scopes": ["environment:variables:*", "environment:api_keys:list"]}
    made = (await api.post("/environment/api-keys", json=body)).json()
    async with client_of(app, made["api_key"]) as client:
        await client.put("/environment-variables/TOKEN", json={"value": "hush-hush"})
        await client.delete("/environment-variables/NOTHING")
        await client.get("/environment-variables")
        await client.patch("/environment", json={"validation": "off"})
    await api.delete(f"/environment/api-keys/{made['id']}")

    assert await acts(api) == [
        ("secret key", "api_key.revoke", "ci", 200, None),
        ("ci", "environment.update", "", 403, "forbidden"),
        ("ci", "variable.delete", "NOTHING", 404, "unknown_environment_variable"),
        ("ci", "variable.set", "TOKEN", 200, None),
        ("secret key", "api_key.create", "ci", 201, None),
    ]
    assert "hush-hush" not in (await api.get("/audit")).text
    assert (await api.get("/audit")).json()["data"][1]["key_id"] == made["id"]


async def test_acts_are_read_in_pages_and_by_kind(api: httpx.AsyncClient) -> None:
    for number in range(5):
        await api.put(f"/environment-variables/V{number}", json={"value": "x"})
    await api.patch("/environment", json={"validation": "off"})

    first = (await api.get("/audit?limit=4&act=variable.set")).json()
    rest = (await api.get(f"/audit?act=variable.set&cursor={first['next_cursor']}")).json()

    subjects = [one["subject"] for one in [*first["data"], *rest["data"]]]
    assert subjects == ["V4", "V3", "V2", "V1", "V0"]
    assert rest["next_cursor"] is None


async def test_an_environment_sees_what_was_done_with_its_own_keys(
    container: Container, app: FastAPI, api: httpx.AsyncClient
) -> None:
    other = await Stack.create(container)
    name = f"V{uuid.uuid4().hex}"
    async with client_of(app, other.secret_key) as client:
        await client.put(f"/environment-variables/{name}", json={"value": "x"})
        body = {"name": "reader", "scopes": ["environment:audit:read"]}
        reader = (await client.post("/environment/api-keys", json=body)).json()["api_key"]

    assert await acts(api) == []
    assert name in [subject for _, _, subject, _, _ in await acts(api, "?all=true")]
    async with client_of(app, reader) as client:
        assert len(await acts(client)) == 2
        assert error_of(await client.get("/audit?all=true")) == (403, "forbidden")


async def test_an_act_whose_end_could_not_be_noted_stands_without_one(
    container: Container, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> None:
        msg = "away"
        raise UnavailableError(msg)

    with monkeypatch.context() as broken:
        broken.setattr(type(container.database.audit), "end", lost)
        answer = await api.put("/environment-variables/V", json={"value": "x"})

    assert answer.status_code == 200
    assert await acts(api) == [("secret key", "variable.set", "V", None, None)]


async def test_every_administrative_endpoint_is_an_act() -> None:
    administrative = ("/environment", "/integrations", "/deployments", "/action/disable")
    reading = {"GET", "HEAD"}
    silent = {
        rule
        for rule, asked in RULES.items()
        if rule[1].startswith(administrative) and rule[0] not in reading and asked.act is None
    }
    assert silent == {("POST", "/deployments/plan")}
