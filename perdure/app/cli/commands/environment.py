"""`perdure environment`: settings of the environment that the secret key opens."""

from __future__ import annotations

from typing import Literal

from cyclopts import App

from perdure.app.cli.options import DEFAULT_SERVER, USE, AsJson, ServerOptions
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="environment", group=USE, help="Show and change the environment.")


@app.command
async def show(*, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER) -> None:
    """Show the environment.

    Args:
        as_json: Print JSON.
        server: Server and key.
    """
    async with api(server) as client:
        _print(await client.environment(), as_json)


@app.command(name="set")
async def set_(
    *,
    validation: Literal["enforce", "warn", "off"] | None = None,
    action_limit: int | None = None,
    connection_action_limit: int | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Change the environment, from the next run on.

    Args:
        validation: What happens to records, inputs and outputs that do not fit their model: the
            run fails, its log warns, or nothing.
        action_limit: How many asynchronous actions run at the same time.
        connection_action_limit: How many of them for one connection.
        as_json: Print JSON.
        server: Server and key.
    """
    async with api(server) as client:
        answer = await client.change_environment(
            validation=validation,
            action_limit=action_limit,
            connection_action_limit=connection_action_limit,
        )
        _print(answer, as_json)


def _print(answer: dict[str, object], as_json: bool) -> None:
    from perdure.app.cli import render

    (render.print_json if as_json else render.environment)(answer)
