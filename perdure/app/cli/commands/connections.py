"""`perdure connections`: whose accounts at a provider an environment works with."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from perdure.app.cli.credentials import read_credentials
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

app = App(name="connections", group=USE, help="Make, show and delete connections.")

_CREDENTIALS = Group("Credentials", sort_key=5)

_REFRESHED = frozenset({"APP", "JWT", "OAUTH2", "OAUTH2_CC", "SIGNATURE", "TWO_STEP"})

Auth = Literal["api-key", "basic", "none"]


def _secret(variable: str | None = None) -> Parameter:
    return Parameter(
        group=_CREDENTIALS,
        env_var=f"PERDURE_CONNECTION_{variable}" if variable else None,
        allow_leading_hyphen=True,
    )


@app.command
async def create(
    integration: str,
    /,
    *,
    connection_id: Annotated[str | None, Parameter(name="--id")] = None,
    auth: Annotated[Auth | None, Parameter(group=_CREDENTIALS)] = None,
    api_key: Annotated[str | None, _secret("API_KEY")] = None,
    username: Annotated[str | None, _secret("USERNAME")] = None,
    password: Annotated[str | None, _secret("PASSWORD")] = None,
    credentials_file: Annotated[str | None, _secret()] = None,
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
        auth: Kind of credentials, where it does not follow from what is given.
        api_key: The API key.
        username: The user's name.
        password: The password.
        credentials_file: JSON file with "type" and the fields of that type; - is standard input.
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
        "credentials": read_credentials(
            kind=auth,
            api_key=api_key,
            username=username,
            password=password,
            file=credentials_file,
        ),
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


@app.command
async def get(
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
async def delete(
    integration: str, connection: str, /, *, server: ServerOptions = DEFAULT_SERVER
) -> None:
    """Delete a connection, its schedules and its records.

    Args:
        integration: Key of the integration.
        connection: Id of the connection.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        await client.delete_connection(integration, connection)
    render.say(f"Deleted the connection {connection} of {integration}.")
