"""Metadata of connections over REST."""

from __future__ import annotations

import httpx
import pytest

from tests.api.calls import error_of
from tests.support.source import Source


@pytest.fixture
async def two(connected: httpx.AsyncClient, source: Source) -> httpx.AsyncClient:
    """The connections `acme` and `a/b` of `tracker`."""
    answer = await connected.post(
        "/connections",
        json={
            "provider_config_key": "tracker",
            "connection_id": "a/b",
            "credentials": {"type": "API_KEY", "api_key": "key-of-b"},
            "connection_config": {"baseUrl": source.url},
        },
    )
    assert answer.status_code == 200
    return connected


async def metadata_of(client: httpx.AsyncClient, connection_id: str) -> dict | None:
    answer = await client.get(
        f"/connections/{connection_id}", params={"provider_config_key": "tracker"}
    )
    return answer.json()["metadata"]


async def test_metadata_is_set_and_echoed(two: httpx.AsyncClient) -> None:
    body = {"connection_id": "acme", "provider_config_key": "tracker", "metadata": {"a": 1}}

    answer = await two.post("/connections/metadata", json=body)

    assert (answer.status_code, answer.json()) == (201, body)
    assert await metadata_of(two, "acme") == {"a": 1}


async def test_metadata_of_several_connections_is_merged(two: httpx.AsyncClient) -> None:
    common = {"connection_id": ["acme", "a/b"], "provider_config_key": "tracker"}
    await two.post("/connections/metadata", json=common | {"metadata": {"a": 1, "b": {"c": 2}}})

    answer = await two.patch("/connections/metadata", json=common | {"metadata": {"b": 3}})

    assert answer.status_code == 200
    assert await metadata_of(two, "acme") == {"a": 1, "b": 3}
    assert await metadata_of(two, "a/b") == {"a": 1, "b": 3}


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_one_missing_connection_changes_nothing(two: httpx.AsyncClient, method: str) -> None:
    body = {
        "connection_id": ["acme", "nobody"],
        "provider_config_key": "tracker",
        "metadata": {"a": 1},
    }

    answer = await two.request(method, "/connections/metadata", json=body)

    assert error_of(answer) == (404, "unknown_connection")
    assert "'nobody'" in answer.json()["error"]["message"]
    assert "acme" not in answer.json()["error"]["message"]
    assert await metadata_of(two, "acme") is None


async def test_older_paths_take_the_metadata_alone(two: httpx.AsyncClient) -> None:
    headers = {"provider-config-key": "tracker"}

    made = await two.post("/connection/a/b/metadata", json={"a": 1}, headers=headers)
    changed = await two.patch("/connection/a/b/metadata", json={"b": 2}, headers=headers)

    assert (made.status_code, made.json()) == (201, {"a": 1})
    assert (changed.status_code, changed.json()) == (200, {"b": 2})
    assert await metadata_of(two, "a/b") == {"a": 1, "b": 2}


async def test_metadata_that_is_no_object_is_refused(two: httpx.AsyncClient) -> None:
    body = {"connection_id": "acme", "provider_config_key": "tracker", "metadata": [1]}

    answer = await two.post("/connections/metadata", json=body)

    assert error_of(answer) == (400, "invalid_body")
    assert answer.json()["error"]["errors"][0]["path"] == ["metadata"]
