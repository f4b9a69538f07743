"""`perdure integrations`: which providers an environment speaks to, under which key."""

from __future__ import annotations

from cyclopts import App

from perdure.app.cli.options import DEFAULT_SERVER, USE, AsJson, ServerOptions
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="integrations", group=USE, help="Make and list integrations.")


@app.command
async def create(
    key: str,
    /,
    *,
    provider: str,
    display_name: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Make an integration.

    Args:
        key: Unique key: the name of the integration in nango.yaml.
        provider: Name of the provider in the catalogue, such as stripe.
        display_name: Name for people.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.create_integration(key, provider, display_name)
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"Made the integration {key} of the provider {provider}.")


@app.command(name="list")
async def list_(*, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER) -> None:
    """List integrations.

    Args:
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_integrations()
    (render.print_json if as_json else render.integrations)(answer)
