"""What tests of the API do over and over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI


@asynccontextmanager
async def client_of(app: FastAPI, secret_key: str | None) -> AsyncIterator[httpx.AsyncClient]:
    """A client that hands its requests to the app directly."""
    headers = {"authorization": f"Bearer {secret_key}"} if secret_key else {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=headers, timeout=60
    ) as client:
        yield client


async def deploy(client: httpx.AsyncClient, files: dict[str, str]) -> dict:
    """Deploy a project; it has to succeed."""
    answer = await client.post("/deployments", json={"files": files})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def connect(client: httpx.AsyncClient, url: str, connection_id: str = "acme") -> dict:
    """Make integration `tracker` where it is missing, and a connection; it has to succeed."""
    integrations = (await client.get("/integrations")).json()["data"]
    if not integrations:
        new = {"provider": "generic-api-key", "unique_key": "tracker"}
        assert (await client.post("/integrations", json=new)).status_code == 200
    answer = await client.post(
        "/connections",
        json={
            "provider_config_key": "tracker",
            "connection_id": connection_id,
            "credentials": {"type": "API_KEY", "api_key": f"key-of-{connection_id}"},
            "connection_config": {"baseUrl": url},
        },
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer in the error envelope."""
    body = answer.json()
    assert set(body) == {"error"}
    assert (
        {"code", "message"}
        <= set(body["error"])
        <= {
            "code",
            "message",
            "errors",
            "payload",
            "upstream",
        }
    )
    return answer.status_code, body["error"]["code"]
