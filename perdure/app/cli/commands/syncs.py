"""`perdure syncs`: how syncs stand, and what people may do about it."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import DEFAULT_SERVER, USE, AsJson, Connection, ServerOptions
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="syncs", group=USE, help="Show, trigger, pause and start syncs.")
variants = App(name="variants", help="The same sync several times for one connection.")
app.command(variants)


@app.command
async def status(
    integration: str,
    /,
    *syncs: str,
    connection: Connection | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Show how syncs stand.

    Args:
        integration: Key of the integration.
        syncs: Names of syncs, or name::variant; all of them if none is given.
        connection: Id of a connection; all connections if none is given.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.sync_status(integration, syncs, connection)
    (render.print_json if as_json else render.sync_status)(answer)


@app.command
async def trigger(
    integration: str,
    /,
    *syncs: str,
    connection: Connection | None = None,
    reset: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    empty_cache: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Run syncs now, or right after the run that is under way.

    Args:
        integration: Key of the integration.
        syncs: Names of syncs, or name::variant; all of them if none is given.
        connection: Id of a connection; all connections if none is given.
        reset: End the run under way and start from nothing: no last date, no checkpoint.
        empty_cache: Reset, and replace all records by what the run saves. Readers see the old
            ones until it has succeeded.
        as_json: Print JSON.
        server: Server and key.
    """
    opts = {"reset": reset, "emptyCache": empty_cache} if reset or empty_cache else None
    async with api(server) as client:
        answer = await client.command_syncs("trigger", integration, syncs, connection, opts)
    _tell(answer, f"Triggered {_named(syncs, integration, connection)}", as_json=as_json)


@app.command
async def pause(
    integration: str,
    /,
    *syncs: str,
    connection: Connection | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Stop syncs from running by themselves, and cancel their runs.

    Args:
        integration: Key of the integration.
        syncs: Names of syncs, or name::variant; all of them if none is given.
        connection: Id of a connection; all connections if none is given.
        as_json: Print JSON.
        server: Server and key.
    """
    async with api(server) as client:
        answer = await client.command_syncs("pause", integration, syncs, connection)
    _tell(answer, f"Paused {_named(syncs, integration, connection)}", as_json=as_json)


@app.command
async def start(
    integration: str,
    /,
    *syncs: str,
    connection: Connection | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Let paused syncs run again, at once where a run is due.

    Args:
        integration: Key of the integration.
        syncs: Names of syncs, or name::variant; all of them if none is given.
        connection: Id of a connection; all connections if none is given.
        as_json: Print JSON.
        server: Server and key.
    """
    async with api(server) as client:
        answer = await client.command_syncs("start", integration, syncs, connection)
    _tell(answer, f"Started {_named(syncs, integration, connection)}", as_json=as_json)


@app.command
async def confirm_deletes(
    integration: str,
    sync: str,
    connection: str,
    /,
    *,
    variant: str | None = None,
    model: str | None = None,
    dismiss: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Delete the records whose deletion a run has held back because there are so many.

    Args:
        integration: Key of the integration.
        sync: Name of the sync.
        connection: Id of the connection.
        variant: Variant of the sync.
        model: Only records of this model.
        dismiss: Keep the records; the next run that succeeds decides anew.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.confirm_deletes(
            {
                "provider_config_key": integration,
                "connection_id": connection,
                "sync": sync,
                "variant": variant,
                "model": model,
                "dismiss": dismiss,
            }
        )
    if as_json:
        render.print_json(answer)
    elif dismiss:
        render.say("Dismissed: the records stay.")
    elif answer["deleted"] is None:
        render.say("The records are being deleted; `perdure syncs status` shows how many are left.")
    else:
        counts = ", ".join(f"{count:,} {name}" for name, count in answer["deleted"].items())
        render.say(f"Deleted {counts}.")


@app.command
async def frequency(
    integration: str,
    sync: str,
    frequency: str | None = None,
    /,
    *,
    connection: Connection,
    revert: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Have a sync of one connection run more or less often than deployed.

    Args:
        integration: Key of the integration.
        sync: Name of the sync, or name::variant.
        frequency: How often, written like `runs` in nango.yaml: "every 10 minutes".
        connection: Id of the connection.
        revert: Run as often as deployed again.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    if revert is (frequency is not None):
        msg = "how often is missing" if frequency is None else "--revert takes no frequency"
        raise UsageError(msg, hint='write "every 10 minutes", or --revert')
    name, variant = _variant_of(sync)
    async with api(server) as client:
        answer = await client.set_frequency(integration, connection, name, variant, frequency)
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"{sync} of {integration} for {connection} runs {answer['frequency']}.")


@variants.command
async def create(
    integration: str,
    sync: str,
    variant: str,
    /,
    *,
    connection: Connection,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Make a variant of a sync for a connection, with a schedule and records of its own.

    Args:
        integration: Key of the integration.
        sync: Name of the sync.
        variant: Name of the variant; the script reads it as nango.variant.
        connection: Id of the connection.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.change_variant("POST", integration, connection, sync, variant)
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"Made {sync}::{variant} of {integration} for {connection}.")


@variants.command
async def delete(
    integration: str,
    sync: str,
    variant: str,
    /,
    *,
    connection: Connection,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Delete a variant of a sync with its schedule, its runs and its records.

    Args:
        integration: Key of the integration.
        sync: Name of the sync.
        variant: Name of the variant.
        connection: Id of the connection.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.change_variant("DELETE", integration, connection, sync, variant)
    said = f"Deleted {sync}::{variant} of {integration} for {connection}."
    render.done(answer, said, as_json=as_json)


def _variant_of(sync: str) -> tuple[str, str]:
    name, _, variant = sync.partition("::")
    return name, variant or "base"


def _named(syncs: tuple[str, ...], integration: str, connection: str | None) -> str:
    what = ", ".join(syncs) or "all syncs"
    return f"{what} of {integration} for {connection or 'all connections'}."


def _tell(answer: object, text: str, *, as_json: bool) -> None:
    from perdure.app.cli import render

    render.done(answer, text, as_json=as_json)
