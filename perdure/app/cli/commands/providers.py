"""`perdure providers`: whose APIs there are entries for."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from perdure.app.cli.options import DEFAULT_SERVER, USE, AsJson, ServerOptions
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="providers", group=USE, help="Show the catalogue of providers.")


@app.command(name="list")
async def list_(
    search: str | None = None,
    /,
    *,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List providers.

    Args:
        search: Only those whose name or category holds this.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_providers(search)
    if as_json:
        render.print_json(answer)
    else:
        render.providers(answer, search=search)


@app.command
async def show(
    provider: str, /, *, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER
) -> None:
    """Show a provider.

    Args:
        provider: Its name.
        as_json: Print JSON: the whole entry.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.get_provider(provider)
    (render.print_json if as_json else render.provider)(answer)


@app.command
def check(files: Path, /) -> None:
    """Check a file or folder that PERDURE_PROVIDERS is to name; no server is needed.

    Args:
        files: A YAML file, or a folder of such files.
    """
    from perdure.app.cli import render
    from perdure.providers.provider_catalog import ProviderCatalog

    own = ProviderCatalog.load()
    catalog = ProviderCatalog.load(files)
    new = sum(provider.name not in own for provider in catalog)
    replaced = sum(
        provider.name in own and provider != own.get(provider.name) for provider in catalog
    )
    render.say(
        f"{files} is fine: {new} new {'provider' if new == 1 else 'providers'}, "
        f"{replaced} of the catalogue's replaced."
    )
