"""`perdure deployments`: what was deployed when, putting an older state back, ending a deploy."""

from __future__ import annotations

from cyclopts import App

from perdure.app.cli.errors import ExitCode, failing_with
from perdure.app.cli.options import (
    BUILD,
    DEFAULT_SERVER,
    AllowDestructive,
    AsJson,
    DryRun,
    ServerOptions,
)
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="deployments", group=BUILD, help="Look at deployments, and put older ones back.")


@app.command(name="list")
async def list_(
    environment: str = "dev",
    /,
    *,
    limit: int = 20,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List deployments, the newest first: that is the one in force.

    Args:
        environment: Its key is `NANGO_SECRET_KEY_<ENVIRONMENT>`.
        limit: How many, at most 1000.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server, environment) as client:
        answer = await client.list_deployments(limit)
    (render.print_json if as_json else render.deployments)(answer)


@app.command
async def show(
    deployment: int,
    environment: str = "dev",
    /,
    *,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Show a deployment with what it deployed.

    Args:
        deployment: Its number, as `list` shows it.
        environment: Its key is `NANGO_SECRET_KEY_<ENVIRONMENT>`.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server, environment) as client:
        answer = await client.get_deployment(deployment)
    (render.print_json if as_json else render.deployment)(answer)


@app.command
async def rollback(
    deployment: int,
    environment: str = "dev",
    /,
    *,
    allow_destructive: AllowDestructive = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Deploy once more what an older deployment deployed.

    It is a deploy like any other: it has a plan, runs under way go on, and it can be taken back.

    Args:
        deployment: Its number, as `list` shows it.
        environment: Its key is `NANGO_SECRET_KEY_<ENVIRONMENT>`.
        allow_destructive: Do not ask before scripts are removed or records erased.
        dry_run: Only show what would change.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli.deploying import carry_out

    with failing_with(ExitCode.DEPLOY):
        async with api(server, environment) as client:
            former = await client.get_deployment(deployment)
            await carry_out(
                client,
                {"bundle": former["bundle"]},
                allow_destructive=allow_destructive,
                dry_run=dry_run,
                as_json=as_json,
            )


@app.command
async def cancel(
    environment: str = "dev",
    /,
    *,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """End the deploy that is under way, after the connections that it is at.

    What it has activated stays the active bundle; deploying again finishes what is left.

    Args:
        environment: Its key is `NANGO_SECRET_KEY_<ENVIRONMENT>`.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server, environment) as client:
        answer = await client.cancel_deployment()
    if as_json:
        render.print_json(answer)
    else:
        render.say(answer["message"])
