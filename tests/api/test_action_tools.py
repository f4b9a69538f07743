"""Actions for machines: what is deployed as JSON, and the MCP server over a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import httpx2
import jsonschema
import pytest
import uvicorn
from fastapi import FastAPI
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from tests.api.calls import error_of
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

CONFIG = """
integrations:
  tracker:
    syncs:
      issues: {description: All issues, runs: every day, output: Issue, endpoint: GET /issues}
    actions:
      create:
        description: Creates an issue
        input: NewIssue
        output: Issue
        endpoint: POST /issues
      count:
        description: Counts issues
        output: number
        endpoint: GET /count
      label:
        description: Labels issues
        input: string[]
        endpoint: POST /labels
    on-events:
      post-connection-creation: [greet]
models:
  Issue: {id: string, title: string}
  NewIssue: {title: string, labels?: "Label[]"}
  Label: {name: string}
"""
CREATE = """
async def run_action(nango, input):
    return {"id": "1", "title": input["title"]}
"""
COUNT = "async def run_action(nango):\n    return 3\n"
LABEL = """
from perdure import ActionError

async def run_action(nango, input):
    if not input:
        raise ActionError({"message": "nothing to label"})
    return ", ".join(input)
"""


@pytest.fixture
async def deployed(live: httpx.AsyncClient, stack: Stack, source: Source) -> httpx.AsyncClient:
    files = project() | {
        "nango.yaml": CONFIG,
        "tracker/actions/create.py": CREATE,
        "tracker/actions/count.py": COUNT,
        "tracker/actions/label.py": LABEL,
        "tracker/on-events/greet.py": "async def on_event(nango):\n    pass\n",
    }
    del files["tracker/actions/echo.py"]
    await stack.deploy(files)
    await stack.connect(source.url)
    return live


@pytest.fixture
async def url(app: FastAPI) -> AsyncIterator[str]:
    """The API on a socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await serving


@asynccontextmanager
async def mcp(url: str, stack: Stack, **headers: str) -> AsyncIterator[Client]:
    given = {
        "authorization": f"Bearer {stack.secret_key}",
        "provider-config-key": "tracker",
        "connection-id": "acme",
    }
    given |= {name.replace("_", "-"): text for name, text in headers.items()}
    async with httpx2.AsyncClient(headers=given, timeout=60) as http:
        transport = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(transport) as client:
            yield client


async def test_deployed_scripts_are_described(deployed: httpx.AsyncClient) -> None:
    (tracker,) = (await deployed.get("/scripts/config")).json()

    assert (tracker["providerConfigKey"], tracker["provider"]) == ("tracker", "generic-api-key")
    (sync,) = tracker["syncs"]
    assert (sync["name"], sync["type"], sync["runs"], sync["returns"]) == (
        "issues",
        "sync",
        "every day",
        ["Issue"],
    )
    create = tracker["actions"][0]
    assert (create["type"], create["enabled"], create["input"]) == ("action", True, "NewIssue")
    assert create["endpoints"] == [{"method": "POST", "path": "/issues", "group": None}]
    assert set(create["json_schema"]["definitions"]) == {"Issue", "NewIssue", "Label"}
    assert [(hook["name"], hook["event"]) for hook in tracker["on-events"]] == [
        ("greet", "post-connection-creation")
    ]


async def test_nothing_deployed_is_an_empty_list(api: httpx.AsyncClient) -> None:
    assert (await api.get("/scripts/config")).json() == []
    assert (await api.get("/scripts/config?format=openai")).json() == {"data": []}
    assert error_of(await api.get("/scripts/config?format=x")) == (400, "invalid_query_params")


async def test_actions_are_functions_with_schemas_of_their_own(
    deployed: httpx.AsyncClient,
) -> None:
    create, count, label = (await deployed.get("/scripts/config?format=openai")).json()["data"]

    assert (create["name"], create["description"]) == ("create", "Creates an issue")
    jsonschema.validate({"title": "x", "labels": [{"name": "a"}]}, create["parameters"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"title": "x", "labels": [{}]}, create["parameters"])
    assert count["parameters"] == {"type": "object", "properties": {}}
    jsonschema.validate({"input": ["a"]}, label["parameters"])


async def test_each_action_is_a_tool_that_runs_durably(
    deployed: httpx.AsyncClient, url: str, stack: Stack
) -> None:
    async with mcp(url, stack) as client:
        tools = (await client.list_tools()).tools
        created = await client.call_tool("create", {"title": "from a model"})
        counted = await client.call_tool("count", {})
        labelled = await client.call_tool("label", {"input": ["a", "b"]})

    assert [tool.name for tool in tools] == ["create", "count", "label"]
    assert tools[0].input_schema["required"] == ["title"]
    assert created.structured_content == {"id": "1", "title": "from a model"}
    assert (counted.content[0].text, labelled.content[0].text) == ("3", '"a, b"')
    runs = (await deployed.get("/runs?kind=action")).json()["runs"]
    assert [(run["script"], run["status"]) for run in runs] == [
        ("label", "success"),
        ("count", "success"),
        ("create", "success"),
    ]


async def test_failure_of_a_tool_is_told_to_the_model(
    deployed: httpx.AsyncClient, url: str, stack: Stack
) -> None:
    async with mcp(url, stack) as client:
        refused = await client.call_tool("label", {"input": []})
        invalid = await client.call_tool("create", {"title": 5})

    assert refused.is_error
    assert "nothing to label" in refused.content[0].text
    assert invalid.is_error
    assert "invalid_action_input" in invalid.content[0].text


async def test_disabled_actions_are_no_tools(
    deployed: httpx.AsyncClient, url: str, stack: Stack
) -> None:
    body = {"provider_config_key": "tracker", "action_name": "count"}
    await deployed.post("/action/disable", json=body)
    async with mcp(url, stack) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["create", "label"]
        with pytest.raises(MCPError, match="no action 'count'"):
            await client.call_tool("count", {})


async def test_tools_of_an_unknown_connection_are_refused(
    deployed: httpx.AsyncClient, url: str, stack: Stack
) -> None:
    async with mcp(url, stack, connection_id="x") as client:
        with pytest.raises(MCPError, match="'x'"):
            await client.list_tools()


async def test_mcp_needs_the_key(deployed: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    answer = await stranger.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert error_of(answer) == (401, "missing_auth_header")
