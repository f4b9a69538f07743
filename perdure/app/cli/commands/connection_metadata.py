"""`perdure connections metadata`: what an application keeps with its connections."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import DEFAULT_SERVER, AsJson, ServerOptions, json_value
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="metadata", help="Change what scripts get from nango.get_metadata.")

Value = Annotated[str, Parameter(allow_leading_hyphen=True)]


@app.command(name="set")
async def set_(
    integration: str,
    connection: str,
    metadata: Value,
    /,
    *,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Replace the metadata of a connection.

    Args:
        integration: Key of the integration.
        connection: Id of the connection.
        metadata: A JSON object, @FILE, or -.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    value = _object(metadata)
    async with api(server) as client:
        answer = await client.change_metadata("POST", integration, connection, value)
    said = f"Replaced the metadata of {connection} of {integration}."
    render.done(answer, said, as_json=as_json)


@app.command
async def update(
    integration: str,
    connection: str,
    metadata: Value,
    /,
    *,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Set single keys of the metadata of a connection; the others stay.

    Args:
        integration: Key of the integration.
        connection: Id of the connection.
        metadata: A JSON object, @FILE, or -.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    value = _object(metadata)
    async with api(server) as client:
        answer = await client.change_metadata("PATCH", integration, connection, value)
    said = f"Set {', '.join(value) or 'nothing'} in the metadata of {connection} of {integration}."
    render.done(answer, said, as_json=as_json)


def _object(text: str) -> dict[str, Any]:
    value = json_value(text, "METADATA")
    if not isinstance(value, dict):
        msg = "METADATA is no JSON object"
        raise UsageError(msg, hint="""for example '{"plan": "pro"}', or @FILE""")
    return value
