"""`perdure env`: variables of the environment, which scripts read."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from perdure.app.cli.options import DEFAULT_SERVER, USE, AsJson, ServerOptions, text_value
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="env", group=USE, help="Set and list the variables that scripts read.")


@app.command(name="set")
async def set_(
    name: str, value: str, /, *, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER
) -> None:
    """Set a variable of the environment.

    Args:
        name: Its name: letters, digits and underscores.
        value: Its value; @FILE is the content of a file, - is standard input.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    text = text_value(value, "VALUE")
    if value == "-":
        text = text.removesuffix("\n")
    async with api(server) as client:
        answer = await client.set_variable(name, text)
    render.done(answer, f"Set the variable {name}.", as_json=as_json)


@app.command(name="list")
async def list_(
    *,
    show_values: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List the variables of the environment.

    Args:
        show_values: Show the values too; with --json they are always there.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_variables()
    if as_json:
        render.print_json(answer)
    else:
        render.variables(answer, shows_values=show_values)


@app.command
async def delete(
    name: str, /, *, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER
) -> None:
    """Delete a variable of the environment.

    Args:
        name: Its name.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.delete_variable(name)
    render.done(answer, f"Deleted the variable {name}.", as_json=as_json)
