"""Variables of the environment over REST."""

from __future__ import annotations

import httpx
import pytest

from tests.api.calls import client_of, error_of
from tests.support.stack import Stack


async def test_variables_are_set_listed_and_deleted(api: httpx.AsyncClient) -> None:
    assert (await api.get("/environment-variables")).json() == []
    for name, value in (("REGION", "eu"), ("API_KEY", "s3cret"), ("REGION", "us")):
        answer = await api.put(f"/environment-variables/{name}", json={"value": value})
        assert (answer.status_code, answer.json()) == (200, {"success": True})

    listed = await api.get("/environment-variables")

    assert listed.json() == [
        {"name": "API_KEY", "value": "s3cret"},
        {"name": "REGION", "value": "us"},
    ]
    assert (await api.delete("/environment-variables/API_KEY")).json() == {"success": True}
    assert (await api.get("/environment-variables")).json() == [{"name": "REGION", "value": "us"}]


async def test_variables_belong_to_their_environment(api: httpx.AsyncClient, app: object) -> None:
    await api.put("/environment-variables/REGION", json={"value": "eu"})
    container = app.state.dependencies
    other = await Stack.create(container)

    async with client_of(app, other.secret_key) as client:
        assert (await client.get("/environment-variables")).json() == []


@pytest.mark.parametrize("name", ["1A", "A-B", "A%20B", "ü", "A" * 256])
async def test_name_that_is_no_identifier_is_refused(api: httpx.AsyncClient, name: str) -> None:
    answer = await api.put(f"/environment-variables/{name}", json={"value": "x"})

    assert error_of(answer) == (400, "invalid_uri_params")


async def test_value_is_a_text_and_is_never_repeated(api: httpx.AsyncClient) -> None:
    answer = await api.put("/environment-variables/PIN", json={"value": 4711})

    assert error_of(answer) == (400, "invalid_body")
    assert "4711" not in answer.text


async def test_unknown_variable_is_not_found(api: httpx.AsyncClient) -> None:
    answer = await api.delete("/environment-variables/NOPE")

    assert error_of(answer) == (404, "unknown_environment_variable")
