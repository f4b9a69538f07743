"""`perdure runs`: what ran, how it ended, and why."""

from __future__ import annotations

from typing import Literal

from cyclopts import App

from perdure.app.cli.options import DEFAULT_SERVER, USE, AsJson, Connection, ServerOptions
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="runs", group=USE, help="Look at runs of syncs and actions; retry them.")


@app.command(name="list")
async def list_(
    *,
    kind: str | None = None,
    integration: str | None = None,
    connection: Connection | None = None,
    script: str | None = None,
    status: Literal["running", "success", "failed", "cancelled", "timeout"] | None = None,
    limit: int = 20,
    cursor: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List runs, the newest first.

    Args:
        kind: Only this kind: sync, action or on-event.
        integration: Only of this integration.
        connection: Only of this connection.
        script: Only of the sync or action of this name.
        status: Only those that stand so.
        limit: How many, at most 1000.
        cursor: Where the page before ended.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_runs(
            {
                "kind": kind,
                "integration": integration,
                "connection_id": connection,
                "script": script,
                "status": status,
                "limit": limit,
                "cursor": cursor,
            }
        )
    (render.print_json if as_json else render.runs)(answer)


@app.command
async def cancel(
    run: str, /, *, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER
) -> None:
    """End a run that is under way; what it saved stays.

    Args:
        run: Id of the run.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.cancel_run(run)
    if as_json:
        render.print_json(answer)
    elif answer["status"] == "running":
        render.say(f"The run {run} is asked to stop; it does so as soon as a worker takes it up.")
    else:
        render.say(f"The run {run} has ended: {answer['status']}.")


@app.command
async def show(
    run: str, /, *, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER
) -> None:
    """Show a run with its error and its log.

    Args:
        run: Id of the run, the same as in the Temporal UI.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.get_run(run)
    (render.print_json if as_json else render.run)(answer)


@app.command
async def retry(
    run: str,
    /,
    *,
    newest: bool = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Let a run that failed go on at the step that failed; what it did before stays done.

    Args:
        run: Id of the run.
        newest: Go on with the script as it is deployed now instead of the one that failed.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.retry_run(run, "active" if newest else "own")
    (render.print_json if as_json else render.retried)(answer)
