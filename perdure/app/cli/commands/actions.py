"""`perdure actions`: calling an action and waiting for what it returns."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from perdure.app.cli.options import DEFAULT_SERVER, USE, Connection, ServerOptions, json_value
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="actions", group=USE, help="Call actions.")


@app.command
async def trigger(
    integration: str,
    action: str,
    /,
    *,
    connection: Connection,
    input_: Annotated[str, Parameter(name=["--input", "-i"], allow_leading_hyphen=True)] = "null",
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Call an action, wait for it, and print what it returns as JSON.

    Args:
        integration: Key of the integration.
        action: Name of the action in nango.yaml.
        connection: Id of the connection.
        input_: Its input: JSON, @FILE, or - for standard input.
        server: Server and key.
    """
    from perdure.app.cli import render

    value = json_value(input_, "--input")
    async with api(server) as client:
        output = await client.trigger_action(integration, connection, action, value)
    render.print_json(output)
