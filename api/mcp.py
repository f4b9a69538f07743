"""The MCP server at `/mcp`: each action of a connection is a tool that runs durably.

The headers `Provider-Config-Key` and `Connection-Id` of each request say which connection, the
environment's secret key opens it, as everywhere. The protocol's transport is streamable HTTP
without sessions, so any API process answers any request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from api.access import Access
from api.action_calls import CalledAction, await_action, start_action
from api.action_tools import ActionTool, action_tools
from api.background import AppTasks
from api.dependencies import Dependencies, environment_of
from api.permission import rule_of
from perdure._version import __version__
from perdure.db.connections import Connection
from perdure.db.environments import Environment
from perdure.errors import InvalidInputError, NotFoundError, PerdureError
from perdure.records.canonical import to_json

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp_types import (
        CallToolRequestParams,
        CallToolResult,
        ListToolsResult,
        PaginatedRequestParams,
    )

__all__ = ["McpEndpoint"]


class McpEndpoint:
    """An ASGI app. The library is loaded with the first request: it takes a second.

    Args:
        dependencies: What the process is made of.
        background: Waits for actions whose callers hang up.
    """

    def __init__(self, dependencies: Dependencies, background: AppTasks) -> None:
        self._deps = dependencies
        self._background = background
        self._begin = asyncio.Lock()
        self._manager: StreamableHTTPSessionManager | None = None
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        Raises:
            ApiError: 403 `forbidden`.
        """
        access: Access = scope["state"]["access"]
        access.require(*(rule_of("*", "/mcp").scopes or ()))
        manager = await self._started()
        await manager.handle_request(scope, receive, send)

    async def close(self) -> None:
        """End what is under way; actions go on."""
        self._stop.set()
        if self._running is not None:
            await self._running

    async def _started(self) -> StreamableHTTPSessionManager:
        async with self._begin:
            if self._manager is None:
                manager = await asyncio.to_thread(self._make)
                ready = asyncio.Event()
                self._running = asyncio.create_task(self._run(manager, ready))
                await ready.wait()
                self._manager = manager
            return self._manager

    async def _run(self, manager: StreamableHTTPSessionManager, ready: asyncio.Event) -> None:
        async with manager.run():
            ready.set()
            await self._stop.wait()

    def _make(self) -> StreamableHTTPSessionManager:
        from mcp.server.lowlevel import Server
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        server = Server[Any](
            "perdure",
            version=__version__,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        return StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    async def _list_tools(
        self, context: ServerRequestContext[Any], _: PaginatedRequestParams | None
    ) -> ListToolsResult:
        from mcp_types import ListToolsResult, Tool

        try:
            caller, connection = await self._connection(context)
            tools = await self._tools(caller, connection)
        except PerdureError as error:
            raise _protocol_error(error) from error
        return ListToolsResult(
            tools=[
                Tool(name=tool.name, description=tool.description, input_schema=tool.parameters)
                for tool in tools.values()
            ]
        )

    async def _call_tool(
        self, context: ServerRequestContext[Any], params: CallToolRequestParams
    ) -> CallToolResult:
        from mcp_types import CallToolResult, TextContent

        try:
            caller, connection = await self._connection(context)
            tool = (await self._tools(caller, connection)).get(params.name)
            if tool is None:
                msg = f"{connection.integration!r} has no action {params.name!r}."
                raise NotFoundError(msg)
        except PerdureError as error:
            raise _protocol_error(error) from error
        call = CalledAction(connection, tool.name, tool.input_of(params.arguments))
        try:
            started = await start_action(self._deps, caller, call)
            result = await await_action(self._deps, self._background, started)
        except PerdureError as error:
            # What an action says of its failure is for the model: it may mend its call.
            said = to_json({"code": error.code, "message": error.message, "payload": error.payload})
            return CallToolResult(
                content=[TextContent(type="text", text=said.decode())], is_error=True
            )
        output = result.output
        return CallToolResult(
            content=[TextContent(type="text", text=to_json(output).decode())],
            structured_content=output if isinstance(output, dict) else None,
        )

    async def _connection(
        self, context: ServerRequestContext[Any]
    ) -> tuple[Environment, Connection]:
        request = context.request
        if not isinstance(request, Request):
            msg = "The request came without its headers."
            raise InvalidInputError(msg, code="invalid_headers")
        names = ("provider-config-key", "connection-id")
        integration, connection_id = (request.headers.get(name) for name in names)
        if not integration or not connection_id:
            msg = "Send the headers Provider-Config-Key and Connection-Id with each request."
            raise InvalidInputError(msg, code="invalid_headers")
        caller = await environment_of(request)
        found = await self._deps.database.connections.get(caller.id, integration, connection_id)
        return caller, found

    async def _tools(self, caller: Environment, connection: Connection) -> dict[str, ActionTool]:
        if caller.active_bundle is None:
            return {}
        config = await self._deps.bundles.config(caller.active_bundle)
        integration = config.integration(connection.integration)
        if integration is None:
            return {}
        disabled = await self._deps.database.actions.disabled(caller.id)
        return {
            tool.name: tool
            for tool in action_tools(config, integration)
            if (integration.key, tool.name) not in disabled
        }


def _protocol_error(error: PerdureError) -> Exception:
    from mcp.shared.exceptions import MCPError
    from mcp_types import INVALID_PARAMS

    return MCPError(INVALID_PARAMS, error.message, {"code": error.code})
