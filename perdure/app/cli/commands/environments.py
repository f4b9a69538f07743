"""`perdure environments`: the environments of a server; it takes a key that may do everything."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import DEFAULT_SERVER, OPERATE, AsJson, ServerOptions
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="environments", group=OPERATE, help="Environments of a server.")


@app.command(name="list")
async def list_(*, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER) -> None:
    """List environments, the oldest first.

    Args:
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_environments()
    (render.print_json if as_json else render.environments)(answer)


@app.command
async def create(
    name: str, /, *, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER
) -> None:
    """Make an environment and print a key that may do everything in it, this once.

    Args:
        name: Its name, such as `prod`.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.create_environment(name)
    (render.print_json if as_json else render.made_environment)(answer)


@app.command
async def delete(
    name: str,
    /,
    *,
    yes: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Delete an environment without connections, with its keys, integrations and deployments.

    Args:
        name: Its name.
        yes: Do it; nothing of it comes back.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    if not yes:
        msg = f"this deletes the environment {name!r} for good"
        raise UsageError(msg, hint="--yes does it")
    async with api(server) as client:
        answer = await client.delete_environment(name)
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"Deleted {name}.")
