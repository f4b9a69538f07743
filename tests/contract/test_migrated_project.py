"""A project of Nango's users, moved here as the documentation says, behind the client of before."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer
from temporalio.worker import Worker
from werkzeug import Request, Response

from config.settings import Settings
from perdure.app.container import Container, open_container
from perdure.app.worker import locate_script, workers
from perdure.scripts.bundle import project_files
from perdure.temporal.client import register_search_attributes
from perdure.temporal.watchdog import Watchdog
from tests.contract.conftest import HERE, ClientError, NodeClient
from tests.support.stack import Stack, namespaced

PROJECT = Path(__file__).parents[2] / "examples" / "from_nango"
WEBHOOK_SECRET = "secret-of-the-webhook"
TOKEN = "ghp_of-acme"
# The catalogue's entry, at another address.
PROVIDERS = """
github-nearby:
  alias: github-pat
  proxy: {base_url: "${connectionConfig.baseUrl}"}
"""


class Github:
    """As much of GitHub as the scripts ask for: 120 issues, the last of them a pull request.

    Attributes:
        scopes: What the token may do.
        tokens: What requests authenticated with.
        opened: Issues that were made.
        labels: Labels that there are, by id.
    """

    def __init__(self, server: HTTPServer) -> None:
        self.url = server.url_for("").rstrip("/")
        self.scopes = "repo, workflow"
        self.tokens: set[str] = set()
        self.opened: list[dict[str, Any]] = []
        self.labels = {1: "bug", 2: "wish"}
        server.expect_request("/user").respond_with_handler(self._user)
        issues = "/repos/acme/site/issues"
        server.expect_request(issues, method="GET").respond_with_handler(self._issues)
        server.expect_request(issues, method="POST").respond_with_handler(self._open)
        server.expect_request("/repos/acme/site/labels").respond_with_handler(self._labels)
        server.expect_request("/repos/acme/old/issues").respond_with_json(
            {"message": "Issues are disabled for this repo"}, status=410
        )

    @staticmethod
    def issue(number: int, **more: Any) -> dict[str, Any]:
        """An issue as GitHub shows it, in part."""
        return {
            "id": 1000 + number,
            "number": number,
            "title": f"Issue {number}",
            "state": "open",
            "user": {"login": "mona"} if number % 2 else None,
            "labels": [{"name": "bug"}],
            "updated_at": "2026-01-31T12:00:00Z",
        } | more

    def _user(self, request: Request) -> Response:
        self.tokens.add(request.headers["Authorization"])
        headers = {"X-OAuth-Scopes": self.scopes}
        return Response('{"login": "acme"}', content_type="application/json", headers=headers)

    def _issues(self, request: Request) -> Response:
        page = int(request.args.get("page", 1))
        size = int(request.args["per_page"])
        numbers = range(1, 121)[(page - 1) * size : page * size]
        found = [
            self.issue(number, **({"pull_request": {}} if number == 120 else {}))
            for number in numbers
        ]
        link = f"<{self.url}/repos/acme/site/issues?page={page + 1}&per_page={size}>"
        headers = {"Link": f'{link}; rel="next"'} if page * size < 120 else {}
        return Response(json.dumps(found), content_type="application/json", headers=headers)

    def _labels(self, request: Request) -> Response:
        found = [
            {
                "id": number,
                "name": name,
                "color": "d73a4a",
                "url": f"{self.url}/repos/acme/site/labels/{name}",
            }
            for number, name in self.labels.items()
        ]
        return Response(json.dumps(found), content_type="application/json")

    def _open(self, request: Request) -> Response:
        self.opened.append(json.loads(request.get_data()))
        made = {"number": 121, "html_url": "https://github.com/acme/site/issues/121"}
        return Response(json.dumps(made), 201, content_type="application/json")


@pytest.fixture(scope="module")
async def own_container(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Container]:
    """A stack of its own: its workers know the provider at the address of the stand-in."""
    file = tmp_path_factory.mktemp("providers") / "providers.yaml"
    file.write_text(PROVIDERS)
    own = await namespaced(settings, providers=file)
    async with AsyncExitStack() as stack:
        watchdog = Watchdog(locate_script)
        container = await stack.enter_async_context(
            open_container(own, name="migrated", watchdog=watchdog)
        )
        await register_search_attributes(container.temporal)
        running: list[Worker] = workers(container, container.transport)
        for worker in running:
            await stack.enter_async_context(worker)
        yield container


@pytest.fixture
def served_container(own_container: Container) -> Container:
    return own_container


@pytest.fixture
async def stack(own_container: Container) -> Stack:
    return await Stack.create(own_container)


@pytest.fixture
def github(httpserver: HTTPServer) -> Github:
    return Github(httpserver)


@pytest.fixture
async def migrated(nango: NodeClient, stack: Stack) -> NodeClient:
    """The client of a server to which the project is deployed; it has no connections yet."""
    await stack.deploy(project_files(PROJECT))
    await integrate(nango)
    return nango


async def integrate(nango: NodeClient) -> None:
    await nango.call(
        "createIntegration",
        {
            "provider": "github-nearby",
            "unique_key": "github",
            "credentials": {"webhook_secret": WEBHOOK_SECRET},
        },
    )


async def connect(server: str, key: str, github: Github) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=server, headers=headers, timeout=60) as client:
        return await client.post(
            "/connections",
            json={
                "provider_config_key": "github",
                "connection_id": "acme",
                "credentials": {"type": "API_KEY", "apiKey": TOKEN},
                "connection_config": {"baseUrl": github.url},
                "metadata": {"repositories": ["acme/site"]},
                "tags": {"plan": "pro"},
                "end_user": {"id": "u1", "email": "u1@example.com"},
            },
        )


async def succeeded(nango: NodeClient, *syncs: str) -> dict[str, dict[str, int]]:
    """Wait until syncs have run well; returns how many records each has."""
    async with asyncio.timeout(60):
        while True:
            found = (await nango.call("syncStatus", "github", list(syncs), "acme"))["syncs"]
            if all(sync["status"] == "SUCCESS" for sync in found):
                return {sync["name"]: sync["recordCount"] for sync in found}
            assert "ERROR" not in [sync["status"] for sync in found], found
            await asyncio.sleep(0.1)


async def records(nango: NodeClient, model: str, **more: Any) -> list[dict[str, Any]]:
    target = {"providerConfigKey": "github", "connectionId": "acme", "model": model}
    return list((await nango.call("listRecords", target | {"limit": 1000} | more))["records"])


async def read_records(server: str, key: str) -> list[str]:
    """What the application of the example prints; it imports what is installed here."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "--input-type=module",
        cwd=HERE,
        env=os.environ | {"PERDURE_URL": server, "PERDURE_KEY": key},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate((PROJECT / "read_records.mjs").read_bytes())
    assert process.returncode == 0
    return out.decode().splitlines()


async def test_migrated_syncs_fill_the_cache_that_the_client_reads(
    migrated: NodeClient, stack: Stack, github: Github
) -> None:
    assert (await connect(migrated.host, stack.secret_key, github)).status_code == 200

    counts = await succeeded(migrated, "issues", "labels")
    issues = await records(migrated, "Issue")

    assert counts == {"issues": {"Issue": 119}, "labels": {"Label": 2}}
    first = {name: value for name, value in issues[0].items() if name != "_nango_metadata"}
    assert first == {
        "id": "1001",
        "repository": "acme/site",
        "number": 1,
        "title": "Issue 1",
        "state": "open",
        "author": "mona",
        "labels": ["bug"],
        "updated_at": "2026-01-31T12:00:00Z",
    }
    assert {label["repository"] for label in await records(migrated, "Label")} == {"acme/site"}
    told = await read_records(migrated.host, stack.secret_key)
    assert (len(told), told[0], told[-1]) == (119, "ADDED 1001 Issue 1", "ADDED 1119 Issue 119")

    del github.labels[1]
    await migrated.call("triggerSync", "github", ["labels"], "acme")
    async with asyncio.timeout(60):
        while not (gone := await records(migrated, "Label", filter="deleted")):
            await asyncio.sleep(0.1)
    assert [label["name"] for label in gone] == ["bug"]


async def test_migrated_action_returns_and_refuses_as_before(
    migrated: NodeClient, stack: Stack, github: Github
) -> None:
    assert (await connect(migrated.host, stack.secret_key, github)).status_code == 200

    async def create(**wanted: Any) -> Any:
        return await migrated.call("triggerAction", "github", "acme", "create-issue", wanted)

    made = await create(repository="acme/site", title="A wish")
    with pytest.raises(ClientError) as invalid:
        await create(repository="acme/site", title="")
    with pytest.raises(ClientError) as refused:
        await create(repository="acme/old", title="A wish")

    assert made == {"number": 121, "url": "https://github.com/acme/site/issues/121"}
    assert github.opened == [{"title": "A wish", "body": None}]
    assert (invalid.value.status, invalid.value.code) == (500, "action_script_runtime_error")
    assert invalid.value.data["error"]["payload"]["code"] == "invalid_input"
    assert refused.value.data["error"]["payload"] == {
        "code": "issues_disabled",
        "message": "acme/old has no issues",
    }


async def test_migrated_hook_refuses_a_token_without_the_scope(
    migrated: NodeClient, stack: Stack, github: Github
) -> None:
    github.scopes = "public_repo"

    answer = await connect(migrated.host, stack.secret_key, github)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "connection_validation_failed"
    assert error["payload"] == {"message": 'The token lacks the scope "repo"'}
    assert await migrated.call("listConnections") == {"connections": []}


async def test_migrated_script_handles_webhooks(
    migrated: NodeClient, stack: Stack, github: Github
) -> None:
    assert (await connect(migrated.host, stack.secret_key, github)).status_code == 200
    await succeeded(migrated, "issues")

    async def send(action: str, **issue: Any) -> None:
        body = {
            "action": action,
            "issue": github.issue(7, **issue),
            "repository": {"full_name": "acme/site"},
        }
        content = json.dumps(body).encode()
        mac = hmac.digest(WEBHOOK_SECRET.encode(), content, "sha256").hex()
        headers = {
            "content-type": "application/json",
            "x-github-event": "issues",
            "x-hub-signature-256": f"sha256={mac}",
        }
        url = f"{migrated.host}/webhook/{stack.environment.name}/github"
        async with httpx.AsyncClient() as client:
            assert (await client.post(url, content=content, headers=headers)).status_code == 200

    async def changed(action: str) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                [issue] = await records(migrated, "Issue", ids=["1007"])
                if issue["_nango_metadata"]["last_action"] == action:
                    return issue
                await asyncio.sleep(0.05)

    await send("edited", title="Another title")
    assert (await changed("UPDATED"))["title"] == "Another title"
    await send("deleted", title="Another title")
    assert (await changed("DELETED"))["title"] == "Another title"


async def test_connections_move_with_all_that_belongs_to_them(
    migrated: NodeClient, stack: Stack, github: Github
) -> None:
    before = await Stack.create(stack.container)
    await stack.container.database.integrations.create(
        before.environment.id, "github", "github-nearby"
    )
    assert (await connect(migrated.host, before.secret_key, github)).status_code == 200
    github.tokens.clear()

    process = await asyncio.create_subprocess_exec(
        "node",
        str(PROJECT / "move_connections.mjs"),
        "github",
        env=os.environ
        | {"OLD_URL": migrated.host, "OLD_KEY": before.secret_key}
        | {"NEW_URL": migrated.host, "NEW_KEY": stack.secret_key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)

    assert (process.returncode, out.decode()) == (0, "moved acme\n")
    moved = await migrated.call("getConnection", "github", "acme")
    assert moved["credentials"] == {"type": "API_KEY", "apiKey": TOKEN}
    assert moved["metadata"] == {"repositories": ["acme/site"]}
    assert moved["tags"] == {"plan": "pro"}
    assert moved["end_user"]["email"] == "u1@example.com"
    assert github.tokens == {f"Bearer {TOKEN}"}


async def test_cursor_of_another_server_is_refused(
    migrated: NodeClient, stack: Stack, github: Github
) -> None:
    assert (await connect(migrated.host, stack.secret_key, github)).status_code == 200
    foreign = "MjAyNi0wMS0zMVQxMjowMDowMC4wMDAwMDBafHw0ZTk5MDFmZg=="

    with pytest.raises(ClientError) as caught:
        await records(migrated, "Issue", cursor=foreign)

    assert (caught.value.status, caught.value.code) == (400, "invalid_cursor")
