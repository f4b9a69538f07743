"""`perdure audit`: what was done to environments, and with which key."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from perdure.app.cli.options import DEFAULT_SERVER, AsJson, ServerOptions
from perdure.app.cli.session import api

__all__ = ["audit"]


async def audit(
    *,
    act: str | None = None,
    every: Annotated[bool, Parameter(name="--all", negative="", show_default=False)] = False,
    limit: int = 20,
    cursor: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List administrative acts, the newest first: what was done, to what, with which key.

    Args:
        act: Only those of this kind, such as `api_key.create`.
        every: Those with keys of all environments.
        limit: How many, at most 1000.
        cursor: Where the page before ended.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    query = {"act": act, "all": "true" if every else None, "limit": limit, "cursor": cursor}
    async with api(server) as client:
        answer = await client.list_audit_events(query)
    (render.print_json if as_json else render.audit_events)(answer)
