"""Fills an environment over its API, as a team would in its first days."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.showcase.provider import ShowcaseProvider

__all__ = ["FAILING", "MENDED", "PROJECT", "SECRETS_IN_USE", "Showcase", "project_files"]

PROJECT = Path(__file__).parent / "project"
FAILING = "github/syncs/pull-requests.py"
"""The script that fails where nobody was asked for a review."""

_LEARNED = "github/syncs/issues.py"
_FAULT = 'reviewer = raw["requested_reviewers"][0]["login"]'
_MENDING = """reviewers = raw["requested_reviewers"]
    reviewer = reviewers[0]["login"] if reviewers else \"\""""
_WEBHOOK_SECRET = "whsec-of-the-showcase"
_API_KEY = "sk-of-the-showcase"
_VARIABLE = "value-of-a-variable"

SECRETS_IN_USE = (_WEBHOOK_SECRET, _API_KEY, _VARIABLE)
"""What no page may show."""


def project_files(**changes: str) -> dict[str, str]:
    """Return the files of the project.

    Args:
        changes: Other contents by path.
    """
    files = {
        path.relative_to(PROJECT).as_posix(): path.read_text()
        for path in sorted(PROJECT.rglob("*"))
        if path.suffix in (".py", ".yaml")
    }
    return {**files, **changes}


MENDED = (PROJECT / FAILING).read_text().replace(_FAULT, _MENDING)
"""The same without its fault, up to the end of the steps as before."""


@dataclass
class Showcase:
    """An environment of a running stack, and a provider for it.

    Attributes:
        client: Has the environment's key.
        provider: Where the accounts are.
        environment: Name of the environment.
    """

    client: httpx.AsyncClient
    provider: ShowcaseProvider
    environment: str

    async def call(
        self, method: str, path: str, body: object = None, **options: Any
    ) -> dict[str, Any]:
        """Ask the API; it has to do it."""
        answer = await self.client.request(method, path, json=body, **options)
        assert answer.is_success, f"{method} {path}: {answer.text}"
        return dict(answer.json()) if answer.content else {}

    async def deploy(self, files: Mapping[str, str]) -> None:
        """Deploy, whatever it removes."""
        await self.call("POST", "/deployments", {"files": files, "allow_destructive": True})

    async def connect(self, integration: str, account: str, **more: Any) -> None:
        """Connect an account; its syncs start by themselves."""
        body = {
            "provider_config_key": integration,
            "connection_id": account,
            "connection_config": {"baseUrl": self.provider.account(account)},
            "credentials": {"type": "API_KEY", "apiKey": f"{_API_KEY}-{account}"},
            **more,
        }
        await self.call("POST", "/connections", body)

    async def trigger(self, integration: str, account: str, sync: str) -> None:
        """Have a sync run now."""
        body = {"provider_config_key": integration, "connection_id": account, "syncs": [sync]}
        await self.call("POST", "/sync/trigger", body)

    async def action(self, integration: str, account: str, name: str, value: object) -> int:
        """Call an action; returns the status of the answer."""
        headers = {"connection-id": account, "provider-config-key": integration}
        body = {"action_name": name, "input": value}
        answer = await self.client.post("/action/trigger", json=body, headers=headers)
        return answer.status_code

    async def webhook(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Have GitHub send a webhook."""
        body = json.dumps(payload).encode()
        signature = hmac.digest(_WEBHOOK_SECRET.encode(), body, "sha256").hex()
        headers = {
            "content-type": "application/json",
            "x-webhook-event": kind,
            "x-hub-signature-256": f"sha256={signature}",
        }
        url = f"/webhook/{self.environment}/github"
        answer = await self.client.post(url, content=body, headers=headers)
        assert answer.is_success, answer.text

    async def runs(self, **conditions: str) -> list[dict[str, Any]]:
        """The runs that are like this, the newest first."""
        return list((await self.call("GET", "/runs", params=conditions))["runs"])

    async def until(self, holds: Callable[[list[dict[str, Any]]], bool], **conditions: str) -> None:
        """Wait until something holds of the runs that are like this."""
        async with asyncio.timeout(60):
            while not holds(await self.runs(**conditions)):
                await asyncio.sleep(0.2)

    async def settle(self, *, but: int = 0) -> None:
        """Wait until no more runs than so many go on."""
        await self.until(lambda runs: len(runs) <= but, status="running")

    async def seed(self) -> None:
        """Make everything that the pages are about."""
        self._misbehave()
        for key, name in (("github", "GitHub"), ("hubspot", "HubSpot"), ("stripe", "Stripe")):
            body = {"provider": "generic-api-key", "unique_key": key, "display_name": name}
            await self.call("POST", "/integrations", body)
        credentials = {"credentials": {"webhook_secret": _WEBHOOK_SECRET}}
        await self.call("PATCH", "/integrations/github", {**credentials, "forward_webhooks": True})
        body = {"primary_url": f"{self.provider.url}/app", "on_sync_completion_always": True}
        await self.call("PATCH", "/environment/webhooks", body)
        await self.call("PUT", "/environment-variables/REGION", {"value": _VARIABLE})
        await self.call("PUT", "/environment-variables/SUPPORT_EMAIL", {"value": _VARIABLE})
        scopes = ["environment:records:read", "environment:syncs:read"]
        await self.call("POST", "/environment/api-keys", {"name": "web shop", "scopes": scopes})
        await self._deploy_twice()
        await self._connect_all()
        await self._use()

    def _misbehave(self) -> None:
        provider = self.provider
        provider.unassigned.add("globex")
        provider.limited["initech"] = 600
        provider.slow["hooli"] = 3
        provider.sizes[("hooli", "companies")] = 100_000
        provider.sizes[("acme", "contacts")] = 320

    async def _deploy_twice(self) -> None:
        """Deploy, and deploy again with what was learned."""
        files = project_files()
        config = files["nango.yaml"].replace("every 15min", "every 1h")
        issues = files[_LEARNED].replace('raw["comments"]', 'len(raw["comments"])')
        await self.deploy(project_files(**{"nango.yaml": config, _LEARNED: issues}))
        await self.deploy(files)

    async def _connect_all(self) -> None:
        ada = {"end_user": {"id": "u-17", "email": "ada@acme.example", "display_name": "Ada"}}
        acme = {
            "metadata": {"repositories": ["web", "api"], "sandbox": False},
            "tags": {"plan": "pro"},
        }
        await self.connect("github", "acme", **ada, **acme)
        await self.connect("github", "globex", tags={"plan": "free"})
        await self.connect("hubspot", "acme", **ada)
        await self.connect("hubspot", "initech")
        await self.connect("hubspot", "hooli")
        await self.connect("stripe", "acme")
        await self.connect("stripe", "globex")
        await self.until(bool, integration="github", status="failed")
        await self.until(bool, connection_id="acme", script="contacts", status="success")
        await self.until(bool, connection_id="acme", script="issues", status="success")

    async def _use(self) -> None:
        new = {"title": "Search is slow", "kind": "bug", "labels": ["search"]}
        assert await self.action("github", "acme", "create-issue", new) == 200
        await self.action("github", "acme", "close-issue", {"id": "3"})
        await self.action("hubspot", "acme", "whoami", None)
        opened = {"id": 9_001, "title": "Opened at the provider", "state": "open", "comments": 0}
        opened |= {"user": {"login": "grace"}, "labels": ["bug"]}
        await self.webhook("issues.opened", {"issue": opened})
        await self.webhook("star.created", {"stars": 7})
        self.provider.sizes[("acme", "issues")] = 131
        await self.trigger("github", "acme", "issues")
        await self.until(
            lambda runs: len(runs) >= 2, connection_id="acme", script="issues", status="success"
        )
