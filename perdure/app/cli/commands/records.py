"""`perdure records`: what syncs have saved."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from perdure.app.cli.options import DEFAULT_SERVER, USE, AsJson, Connection, ServerOptions
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="records", group=USE, help="Read synced records.")


@app.command(name="list")
async def list_(
    integration: str,
    model: str,
    /,
    *,
    connection: Connection,
    variant: str | None = None,
    cursor: str | None = None,
    limit: int = 20,
    filters: Annotated[
        list[Literal["added", "updated", "deleted"]] | None,
        Parameter(name="--filter", negative=""),
    ] = None,
    modified_after: str | None = None,
    ids: Annotated[list[str] | None, Parameter(name="--id", negative="")] = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List records in the order in which they changed.

    Args:
        integration: Key of the integration.
        model: Name of the model in nango.yaml.
        connection: Id of the connection.
        variant: Variant of the sync.
        cursor: Only what changed after this one: the cursor of a record that was read before.
        limit: How many, at most 10000.
        filters: Only those whose last change was this; may be repeated.
        modified_after: Only those that changed after this moment (ISO 8601).
        ids: Only this record; may be repeated.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_records(
            integration,
            connection,
            {
                "model": model,
                "variant": variant,
                "cursor": cursor,
                "limit": limit,
                "filter": ",".join(filters) if filters else None,
                "modified_after": modified_after,
                "ids": ids,
            },
        )
    (render.print_json if as_json else render.records)(answer)
