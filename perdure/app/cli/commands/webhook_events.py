"""`perdure webhooks events|replay`: what providers have sent, and what became of it."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import DEFAULT_SERVER, AsJson, Connection, ServerOptions
from perdure.app.cli.session import api

__all__ = ["events", "replay_events"]


async def events(
    event: str | None = None,
    /,
    *,
    status: Literal["pending", "processed", "failed", "ignored"] | None = None,
    kind: Annotated[str | None, Parameter(name="--type")] = None,
    integration: str | None = None,
    connection: Connection | None = None,
    limit: int = 20,
    cursor: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List what providers have sent, the newest first, or show one of it.

    Args:
        event: Id of one webhook, which is shown with what it says.
        status: Only those that stand so.
        kind: Only of this type.
        integration: Only of this integration.
        connection: Only those that are handled for this connection.
        limit: How many, at most 1000.
        cursor: Where the page before ended.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        if event is not None:
            answer = await client.get_webhook_event(event)
            (render.print_json if as_json else render.webhook_event)(answer)
            return
        answer = await client.list_webhook_events(
            {
                "status": status,
                "type": kind,
                "integration": integration,
                "connection_id": connection,
                "limit": limit,
                "cursor": cursor,
            }
        )
    (render.print_json if as_json else render.webhook_events)(answer)


async def replay_events(
    *event: str, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER
) -> None:
    """Have webhooks of providers handled again, by what is deployed and connected now.

    Args:
        event: Their ids.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    if not event:
        msg = "say which webhooks to handle again"
        raise UsageError(msg, hint="`perdure webhooks events` shows their ids")
    async with api(server) as client:
        replayed = [await client.replay_webhook_event(one) for one in event]
    if as_json:
        render.print_json({"events": replayed})
    else:
        render.say(f"Handling {len(replayed)} again.")
