"""`perdure logs` and `perdure runs logs`: what scripts have said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import DEFAULT_SERVER, AsJson, Connection, ServerOptions
from perdure.app.cli.session import api
from perdure.clock import utcnow
from perdure.nango import JsonObject

if TYPE_CHECKING:
    from perdure.app.cli.client import ApiClient

__all__ = ["logs", "run_logs"]

_PAUSE_SECONDS = 1.0
_LEVELS = ("debug", "info", "warn", "error")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


async def logs(
    text: str | None = None,
    /,
    *,
    level: Literal["debug", "info", "warn", "error"] = "debug",
    integration: str | None = None,
    connection: Connection | None = None,
    script: str | None = None,
    within: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Search what the scripts of all runs have logged; the newest lines come last.

    Args:
        text: Only lines with this text, whatever the case.
        level: Only this level and those above it.
        integration: Only of this integration.
        connection: Only of this connection.
        script: Only of the sync or action of this name.
        within: Only of this time until now, as 30m, 12h or 7d.
        limit: How many lines, at most 1000.
        cursor: Where the search before ended; it goes on with older lines.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    since = None if within is None else (utcnow() - _span(within)).isoformat()
    async with api(server) as client:
        answer = await client.search_logs(
            {
                "text": text,
                "level": _LEVELS[_LEVELS.index(level) :],
                "integration": integration,
                "connection_id": connection,
                "script": script,
                "since": since,
                "limit": limit,
                "cursor": cursor,
            }
        )
    (render.print_json if as_json else render.found_logs)(answer)


async def run_logs(
    run: str,
    /,
    *,
    follow: bool = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Show what a run has logged, the oldest line first.

    Args:
        run: Id of the run.
        follow: Go on until the run has ended.
        as_json: Print JSON, with `--follow` a line for each line of the log.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        if as_json and not follow:
            render.print_json([line async for line in _lines(client, run, follow=False)])
            return
        async for line in _lines(client, run, follow=follow):
            (render.print_json_line if as_json else render.log_line)(line)


async def _lines(client: ApiClient, run: str, *, follow: bool) -> AsyncIterator[JsonObject]:
    cursor = None
    while True:
        found = await client.read_run_log(run, cursor)
        for line in found["logs"]:
            yield line
        cursor = found["cursor"]
        if found["logs"]:
            continue
        if found["ended"] or not follow:
            return
        await asyncio.sleep(_PAUSE_SECONDS)


def _span(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if not number.isdecimal() or unit not in _UNITS:
        msg = f"--within {text!r} is no span of time"
        raise UsageError(msg, hint="write it as 30m, 12h or 7d")
    return timedelta(**{_UNITS[unit]: int(number)})
