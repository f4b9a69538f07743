"""`perdure connections`: whose accounts at a provider an environment works with."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from perdure.app.cli.commands import connection_metadata
from perdure.app.cli.commands.connect_links import connect_link, end_user_of
from perdure.app.cli.credentials import NO_CREDENTIALS, CredentialOptions, read_credentials
from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import (
    DEFAULT_SERVER,
    USE,
    AsJson,
    ServerOptions,
    json_value,
    key_values,
)
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="connections", group=USE, help="Make, show, change and delete connections.")
app.command(connect_link)
app.command(connection_metadata.app)

_REFRESHED = frozenset({"APP", "JWT", "OAUTH2", "OAUTH2_CC", "SIGNATURE", "TWO_STEP"})


@app.command
async def create(
    integration: str,
    /,
    *,
    connection_id: Annotated[str | None, Parameter(name="--id")] = None,
    credentials: CredentialOptions = NO_CREDENTIALS,
    metadata: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    config: Annotated[list[str] | None, Parameter(negative="")] = None,
    tag: Annotated[list[str] | None, Parameter(negative="")] = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Make a connection; the syncs of its integration start by themselves.

    To keep a secret out of the shell's history, give it in its environment variable, in a file, or
    leave it out and type it when asked; with - it is read from standard input.

    Args:
        integration: Key of the integration.
        connection_id: Id of the connection, such as your customer's; made up if none is given.
        credentials: What the account authenticates with.
        metadata: What scripts get from nango.get_metadata: JSON, @FILE, or -.
        config: Parameter of the provider as NAME=VALUE, such as a subdomain; may be repeated.
        tag: Tag as NAME=VALUE; may be repeated.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    body = {
        "provider_config_key": integration,
        "connection_id": connection_id,
        "metadata": None if metadata is None else json_value(metadata, "--metadata"),
        "connection_config": key_values(config, "--config") or None,
        "tags": key_values(tag, "--tag") or None,
        "credentials": read_credentials(credentials),
    }
    async with api(server) as client:
        answer = await client.create_connection(body)
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"Made the connection {answer['connection_id']} of {integration}.")


@app.command(name="list")
async def list_(
    *,
    integration: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """List connections.

    Args:
        integration: Only of this integration.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_connections(integration)
    (render.print_json if as_json else render.connections)(answer)


@app.command(name=("show", "get"))
async def show(
    integration: str,
    connection: str,
    /,
    *,
    show_credentials: Annotated[bool, Parameter(negative="")] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Show a connection.

    Args:
        integration: Key of the integration.
        connection: Id of the connection.
        show_credentials: Show the credentials too; with --json they are always there.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.get_connection(integration, connection)
    if as_json:
        render.print_json(answer)
    else:
        render.connection(answer, shows_credentials=show_credentials)


@app.command
async def refresh(
    integration: str,
    connection: str,
    /,
    *,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Refresh the credentials of a connection now, also where that was given up.

    They are refreshed by themselves before they expire; this shows whether it works.

    Args:
        integration: Key of the integration.
        connection: Id of the connection.
        as_json: Print JSON; the credentials are not in it.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.get_connection(integration, connection, force_refresh=True)
    credentials = answer["credentials"]
    kind, expires_at = credentials["type"], credentials.get("expires_at")
    can_be = kind in _REFRESHED and (kind != "OAUTH2" or "refresh_token" in credentials)
    if as_json:
        shown = {"refreshed": can_be, "type": kind, "expires_at": expires_at}
        render.print_json({"connection_id": answer["connection_id"], **shown})
    elif can_be:
        until = f"they are good until {expires_at}" if expires_at else "they do not expire"
        render.say(f"Refreshed the credentials of {connection} of {integration}: {until}.")
    else:
        render.say(f"Credentials of type {kind} as these cannot be refreshed; they stay.")


@app.command
async def change(
    integration: str,
    connection: str,
    /,
    *,
    tag: Annotated[list[str] | None, Parameter(negative="")] = None,
    user: str | None = None,
    email: str | None = None,
    organization: str | None = None,
    webhook_url: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Change whom a connection belongs to, its tags, or where its webhooks go.

    Args:
        integration: Key of the integration.
        connection: Id of the connection.
        tag: Tag as NAME=VALUE; may be repeated. All of them take the place of all there are.
        user: Id of your user, to whom it belongs.
        email: Their e-mail address.
        organization: Id of the organization they belong to.
        webhook_url: Where its webhooks go instead of the environment's URLs; "" for those.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    changes: dict[str, Any] = {}
    if tag is not None:
        changes["tags"] = key_values(tag, "--tag")
    end_user = end_user_of(user, email=email, organization=organization)
    if end_user is not None:
        changes["end_user"] = end_user
    if webhook_url is not None:
        changes["webhook_url_override"] = webhook_url or None
    if not changes:
        msg = "say what to change"
        raise UsageError(msg, hint="`perdure connections change --help` shows what can be")
    async with api(server) as client:
        answer = await client.change_connection(integration, connection, changes)
    render.done(answer, f"Changed the connection {connection} of {integration}.", as_json=as_json)


@app.command
async def delete(
    integration: str,
    connection: str,
    /,
    *,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Delete a connection, its schedules and its records.

    Args:
        integration: Key of the integration.
        connection: Id of the connection.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.delete_connection(integration, connection)
    render.done(answer, f"Deleted the connection {connection} of {integration}.", as_json=as_json)
