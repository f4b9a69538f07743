"""`perdure actions`: calling actions, and looking at what they returned."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from perdure.app.cli.errors import ApiError, UsageError
from perdure.app.cli.options import (
    DEFAULT_SERVER,
    USE,
    AsJson,
    Connection,
    ServerOptions,
    json_value,
)
from perdure.app.cli.session import api

__all__ = ["app"]

_BETWEEN_LOOKS = 1.0

app = App(name="actions", group=USE, help="Call actions; look at what they returned.")


@app.command
async def trigger(
    integration: str,
    action: str,
    /,
    *,
    connection: Connection,
    input_: Annotated[str, Parameter(name=["--input", "-i"], allow_leading_hyphen=True)] = "null",
    is_async: Annotated[bool, Parameter(name="--async", negative=())] = False,
    max_retries: Annotated[int, Parameter(validator=Number(gte=0, lte=5))] = 0,
    ordered: Annotated[bool, Parameter(negative=())] = False,
    idempotency_key: str | None = None,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Call an action, wait for it, and print what it returns as JSON.

    Args:
        integration: Key of the integration.
        action: Name of the action in nango.yaml.
        connection: Id of the connection.
        input_: Its input: JSON, @FILE, or - for standard input.
        is_async: Do not wait; print the id by which `perdure actions result` finds it.
        max_retries: With --async: how often its script may be run again from its beginning.
        ordered: With --async: run it after the connection's earlier ordered actions.
        idempotency_key: However often it is called with this key, it runs once.
        server: Server and key.
    """
    from perdure.app.cli import render

    if not is_async and (max_retries or ordered):
        msg = "--max-retries and --ordered are for actions that nobody waits for"
        raise UsageError(msg, hint="add --async")
    value = json_value(input_, "--input")
    options: dict[str, str] = {}
    if is_async:
        options |= {"x-async": "true", "x-max-retries": str(max_retries)}
        options |= {"x-ordered": "true"} if ordered else {}
    if idempotency_key is not None:
        options["idempotency-key"] = idempotency_key
    async with api(server) as client:
        output = await client.trigger_action(integration, connection, action, value, options)
    render.print_json(output)


@app.command
async def result(
    action_id: str,
    /,
    *,
    wait: Annotated[bool, Parameter(negative=())] = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Print what an action returned as JSON.

    Args:
        action_id: Id of the action, as `trigger --async` and `list` show it.
        wait: Wait until it has ended.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        while True:
            try:
                return render.print_json(await client.action_result(action_id))
            except ApiError as error:
                if not wait or error.payload != {"status": "running"}:
                    raise
            await asyncio.sleep(_BETWEEN_LOOKS)


@app.command(name="list")
async def list_(
    *,
    integration: str | None = None,
    connection: Connection | None = None,
    action: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List actions that were called, the newest first.

    Args:
        integration: Only of this integration.
        connection: Only for this connection.
        action: Only the action of this name.
        limit: How many, at most 1000.
        cursor: Where the page before ended.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_runs(
            {
                "kind": "action",
                "integration": integration,
                "connection_id": connection,
                "script": action,
                "limit": limit,
                "cursor": cursor,
            }
        )
    (render.print_json if as_json else render.actions)(answer)


@app.command
async def disable(
    integration: str,
    action: str,
    /,
    *,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Refuse calls of an action; runs under way go on.

    Args:
        integration: Key of the integration.
        action: Name of the action.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.switch_action("disable", integration, action)
    render.done(answer, f"The action {action} of {integration} is disabled.", as_json=as_json)


@app.command
async def enable(
    integration: str,
    action: str,
    /,
    *,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Take calls of an action again.

    Args:
        integration: Key of the integration.
        action: Name of the action.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.switch_action("enable", integration, action)
    render.done(answer, f"The action {action} of {integration} is enabled.", as_json=as_json)
