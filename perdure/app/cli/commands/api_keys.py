"""`perdure api-keys`: keys that open an environment, each with the rights of its scopes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import App, Parameter

from perdure.app.cli.errors import CliError
from perdure.app.cli.options import DEFAULT_SERVER, OPERATE, AsJson, ServerOptions
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="api-keys", group=OPERATE, help="Keys that open the environment.")


@app.command(name="list")
async def list_(
    *,
    revoked: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List keys, the newest first.

    Args:
        revoked: Those that open nothing any more, too.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_api_keys(revoked=revoked)
    (render.print_json if as_json else render.api_keys)(answer)


@app.command
async def create(
    name: str,
    /,
    *,
    scope: Annotated[list[str], Parameter(negative="")],
    days: float | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Make a key and print it, this once.

    Args:
        name: For people, and to revoke it.
        scope: What it may do, such as `environment:records:read` or `environment:connections:*`;
            may be given several times.
        days: How long it opens the environment; without it until it is revoked.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    body = {
        "name": name,
        "scopes": scope,
        "expires_at": None if expires_at is None else expires_at.isoformat(),
    }
    async with api(server) as client:
        answer = await client.create_api_key(body)
    (render.print_json if as_json else render.made_api_key)(answer)


@app.command
async def revoke(
    key: str, /, *, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER
) -> None:
    """Have a key open nothing any more, within a second on every process.

    Args:
        key: Its name or id, as `perdure api-keys list` shows them.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        known = (await client.list_api_keys())["data"]
        found = next((one["id"] for one in known if key in {one["id"], one["name"]}), None)
        if found is None:
            msg = f"There is no API key {key!r}"
            raise CliError(msg, code="unknown_api_key", hint="`perdure api-keys list` shows them")
        answer = await client.revoke_api_key(found)
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"Revoked {key}.")
