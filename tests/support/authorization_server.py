"""A real authorization server on loopback, `tests/authorization_server`, and its providers."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from perdure.clock import utcnow
from tests.support.npm import npm_install

__all__ = ["PROVIDERS", "AuthorizationServer", "authorization_server"]

_FOLDER = Path(__file__).parent.parent / "authorization_server"

PROVIDERS = """
loopback-oauth:
  display_name: Loopback OAuth
  auth_mode: OAUTH2
  authorization_url: ${connectionConfig.issuer}/auth
  token_url: ${connectionConfig.issuer}/token
  authorization_method: header
  token_request_auth_method: basic
  proxy:
    base_url: ${connectionConfig.apiUrl} || ${connectionConfig.issuer}
loopback-oauth-cc:
  display_name: Loopback OAuth, client credentials
  auth_mode: OAUTH2_CC
  token_url: ${connectionConfig.issuer}/token
  authorization_method: header
  token_request_auth_method: basic
  proxy:
    base_url: ${connectionConfig.apiUrl} || ${connectionConfig.issuer}
"""
"""Entries of providers whose tokens the server issues; `/me` is an API that takes them."""


@dataclass
class AuthorizationServer:
    """A running server. Each use of a used refresh token costs the whole grant."""

    url: str
    client_id: str
    client_secret: str = field(repr=False)
    _client: httpx.AsyncClient = field(repr=False)

    @property
    def client(self) -> dict[str, str]:
        """Credentials of an integration."""
        return {"client_id": self.client_id, "client_secret": self.client_secret}

    async def tokens(self, *, lifetime: float | None = None) -> dict[str, Any]:
        """Return credentials as if somebody had gone through the flow.

        Args:
            lifetime: What is said of how long they live, in seconds; by default the truth.
        """
        made = await self._call("tokens")
        ends = timedelta(seconds=made["expires_in"] if lifetime is None else lifetime)
        return {
            "type": "OAUTH2",
            "access_token": made["access_token"],
            "refresh_token": made["refresh_token"],
            "expires_at": (utcnow() + ends)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
        }

    async def refreshes(self) -> int:
        """Number of refreshes that were granted."""
        return int((await self._call("seen"))["refreshes"])

    async def client_grants(self) -> int:
        """Number of tokens that were granted to the client itself."""
        return int((await self._call("seen"))["clientCredentials"])

    async def refused(self) -> list[str]:
        """Token requests that were refused, and why."""
        return list((await self._call("seen"))["refused"])

    async def hold(self) -> None:
        """Make answers of the token endpoint wait, which were made and are not sent."""
        await self._call("hold")

    async def holding(self) -> None:
        """Wait until an answer waits."""
        async with asyncio.timeout(20):
            while not (await self._call("seen"))["held"]:
                await asyncio.sleep(0.02)

    async def release(self) -> None:
        """Send the answers that wait, and no more wait."""
        await self._call("release")

    async def fail(self, times: int = 1_000_000, status: int = 503) -> None:
        """Have the token endpoint answer that it cannot at present."""
        await self._call("fail", times=times, status=status)

    async def forgive(self, seconds: float) -> None:
        """Let refresh tokens that were used be used again for so long."""
        await self._call("forgive", seconds=seconds)

    async def forget(self, credentials: dict[str, Any]) -> None:
        """Let an access token not be good any more, as long before its end."""
        await self._call("forget", token=credentials["access_token"])

    async def revoke(self, credentials: dict[str, Any]) -> None:
        """Withdraw what a user has agreed to; none of its tokens is good any more."""
        answer = await self._client.post(
            f"{self.url}/token/revocation",
            data={"token": credentials["refresh_token"]},
            auth=(self.client_id, self.client_secret),
        )
        assert answer.status_code == 200, answer.text

    async def _call(self, name: str, **body: Any) -> dict[str, Any]:
        answer = await self._client.post(f"{self.url}/test/{name}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def authorization_server(
    *,
    token_seconds: int = 3600,
    leeway_seconds: float = 0,
    redirect_uris: Sequence[str] = (),
) -> AsyncIterator[AuthorizationServer]:
    """Run a server until the context ends.

    Args:
        token_seconds: How long access tokens live.
        leeway_seconds: How long a refresh token that was used may be used again.
        redirect_uris: Where people are sent back to.
    """
    await asyncio.to_thread(npm_install, _FOLDER)
    options: dict[str, Any] = {
        "accessTokenSeconds": token_seconds,
        "leewaySeconds": leeway_seconds,
    }
    if redirect_uris:
        options["redirectUris"] = list(redirect_uris)
    process = await asyncio.create_subprocess_exec(
        "node",
        "--no-warnings",
        "server.js",
        json.dumps(options),
        cwd=_FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(30):
            said = json.loads(await process.stdout.readline())
        async with httpx.AsyncClient(timeout=30) as client:
            yield AuthorizationServer(**said, _client=client)
    finally:
        process.stdin.close()
        await process.wait()
