"""`perdure webhooks`: what the application is told, and what became of it."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import DEFAULT_SERVER, USE, AsJson, Connection, ServerOptions
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="webhooks", group=USE, help="Webhooks to your application, and from providers.")

_PAGE = 1000


@app.command
async def settings(
    *,
    primary_url: str | None = None,
    secondary_url: str | None = None,
    on_auth_creation: bool | None = None,
    on_auth_refresh_error: bool | None = None,
    on_sync_completion_always: bool | None = None,
    on_sync_error: bool | None = None,
    on_async_action_completion: bool | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Show what the environment wants to be told and where, or change it.

    Args:
        primary_url: Where webhooks go; "" for nowhere.
        secondary_url: Where they go as well; "" for nowhere.
        on_auth_creation: Tell of new connections and new credentials.
        on_auth_refresh_error: Tell of credentials that could not be renewed.
        on_sync_completion_always: Tell of syncs that changed nothing, too.
        on_sync_error: Tell of syncs that failed.
        on_async_action_completion: Tell of actions that nobody waited for.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    urls = {"primary_url": primary_url, "secondary_url": secondary_url}
    flags = {
        "on_auth_creation": on_auth_creation,
        "on_auth_refresh_error": on_auth_refresh_error,
        "on_sync_completion_always": on_sync_completion_always,
        "on_sync_error": on_sync_error,
        "on_async_action_completion": on_async_action_completion,
    }
    changes: dict[str, str | bool | None] = {
        **{name: url or None for name, url in urls.items() if url is not None},
        **{name: flag for name, flag in flags.items() if flag is not None},
    }
    async with api(server) as client:
        answer = await client.webhook_settings(changes)
    (render.print_json if as_json else render.webhook_settings)(answer)


@app.command
async def rotate_key(*, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER) -> None:
    """Make a new signing key and print it, this once; it signs from now on.

    Args:
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.rotate_webhook_key()
    if as_json:
        render.print_json(answer)
    else:
        render.say(answer["signing_key"])
        render.note("It is not shown again. Your application checks webhooks with it from now on.")


@app.command(name="list")
async def list_(
    *,
    status: Literal["pending", "delivered", "failed"] | None = None,
    kind: Annotated[
        Literal["sync", "auth", "async_action", "forward"] | None, Parameter(name="--type")
    ] = None,
    integration: str | None = None,
    connection: Connection | None = None,
    run: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List webhooks and what became of them, the newest first.

    Args:
        status: Only those that stand so.
        kind: Only of this kind.
        integration: Only of this integration.
        connection: Only of this connection.
        run: Only those that tell of this run.
        limit: How many, at most 1000.
        cursor: Where the page before ended.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_deliveries(
            {
                "status": status,
                "type": kind,
                "integration": integration,
                "connection_id": connection,
                "run_id": run,
                "limit": limit,
                "cursor": cursor,
            }
        )
    (render.print_json if as_json else render.deliveries)(answer)


@app.command
async def show(
    delivery: str, /, *, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER
) -> None:
    """Show a webhook with what it says and its attempts.

    Args:
        delivery: Its id, as `perdure webhooks list` shows it and the receiver got it.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.get_delivery(delivery)
    (render.print_json if as_json else render.delivery)(answer)


@app.command
async def redeliver(
    *delivery: str,
    failed: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Send webhooks again, under their old ids.

    Args:
        delivery: Their ids.
        failed: All that failed.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    if bool(delivery) is failed:
        msg = "say which webhooks to send again"
        raise UsageError(msg, hint="give their ids, or --failed for all that failed")
    async with api(server) as client:
        ids = await client.failed_deliveries(_PAGE) if failed else list(delivery)
        sent = [await client.redeliver(one) for one in ids]
    if as_json:
        render.print_json({"deliveries": sent})
    else:
        render.say(f"Sending {len(sent)} again.")
