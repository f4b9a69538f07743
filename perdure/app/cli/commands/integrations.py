"""`perdure integrations`: which providers an environment speaks to, under which key."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Group, Parameter

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import (
    DEFAULT_SERVER,
    USE,
    AsJson,
    ServerOptions,
    json_value,
    key_values,
    text_value,
)
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="integrations", group=USE, help="Make, change and show integrations.")

_CREDENTIALS = Group("Credentials", sort_key=5)


def _secret(variable: str) -> Parameter:
    return Parameter(group=_CREDENTIALS, env_var=f"PERDURE_{variable}", allow_leading_hyphen=True)


Secret = Annotated[str | None, _secret("WEBHOOK_SECRET")]
ClientSecret = Annotated[str | None, _secret("CLIENT_SECRET")]
PrivateKey = Annotated[str | None, _secret("PRIVATE_KEY")]
Named = Annotated[str | None, Parameter(group=_CREDENTIALS, allow_leading_hyphen=True)]


@app.command
async def create(
    key: str,
    /,
    *,
    provider: str,
    display_name: str | None = None,
    client_id: Named = None,
    client_secret: ClientSecret = None,
    scopes: Named = None,
    app_id: Named = None,
    app_link: Named = None,
    private_key: PrivateKey = None,
    webhook_secret: Secret = None,
    config: Annotated[list[str] | None, Parameter(negative="")] = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Make an integration.

    Args:
        key: Unique key: the name of the integration in nango.yaml.
        provider: Name of the provider in the catalogue, such as stripe-api-key;
            `perdure providers list` shows them.
        display_name: Name for people.
        client_id: Id of your OAuth application.
        client_secret: Its secret: text, @FILE, or -.
        scopes: Scopes to ask users for, separated by commas.
        app_id: Id of your GitHub app.
        app_link: Its public page, where users install it.
        private_key: Its private key in PEM: text, @FILE, or -.
        webhook_secret: What the provider signs its webhooks with: text, @FILE, or -.
        config: What the provider's entry asks for once for all connections, as NAME=VALUE; may be
            repeated.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.create_integration(
            {
                "unique_key": key,
                "provider": provider,
                "display_name": display_name,
                "credentials": _credentials(
                    client_id=client_id,
                    client_secret=client_secret,
                    scopes=scopes,
                    app_id=app_id,
                    app_link=app_link,
                    private_key=private_key,
                    webhook_secret=webhook_secret,
                ),
                "integration_config": key_values(config, "--config") or None,
            }
        )
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"Made the integration {key} of the provider {provider}.")


@app.command
async def change(
    key: str,
    /,
    *,
    display_name: str | None = None,
    client_id: Named = None,
    client_secret: ClientSecret = None,
    scopes: Named = None,
    app_id: Named = None,
    app_link: Named = None,
    private_key: PrivateKey = None,
    webhook_secret: Secret = None,
    config: Annotated[list[str] | None, Parameter(negative="")] = None,
    forward_webhooks: bool | None = None,
    webhook_rules: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Change an integration; what is not given stays.

    Args:
        key: Its unique key.
        display_name: Name for people.
        client_id: Id of your OAuth application.
        client_secret: Its secret: text, @FILE, or -.
        scopes: Scopes to ask users for, separated by commas.
        app_id: Id of your GitHub app.
        app_link: Its public page, where users install it.
        private_key: Its private key in PEM: text, @FILE, or -.
        webhook_secret: What the provider signs its webhooks with: text, @FILE, or -; "" for none.
        config: What the provider's entry asks for once for all connections, as NAME=VALUE; may be
            repeated. All of them take the place of all there are.
        forward_webhooks: Hand on to your application what the provider sends.
        webhook_rules: What takes the place of the provider's rules: JSON, @FILE, or -; null for
            nothing.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    changes = {
        "display_name": display_name,
        "credentials": _credentials(
            client_id=client_id,
            client_secret=client_secret,
            scopes=scopes,
            app_id=app_id,
            app_link=app_link,
            private_key=private_key,
            webhook_secret=webhook_secret,
        ),
        "forward_webhooks": forward_webhooks,
        "integration_config": None if config is None else key_values(config, "--config"),
    }
    body = {name: value for name, value in changes.items() if value is not None}
    if webhook_rules is not None:
        body["webhook_rules"] = json_value(webhook_rules, "--webhook-rules")
    if not body:
        msg = "say what to change"
        raise UsageError(msg, hint="`perdure integrations change --help` shows what can be")
    async with api(server) as client:
        answer = await client.change_integration(key, body)
    if as_json:
        render.print_json(answer)
    else:
        render.say(f"Changed the integration {key}.")


@app.command
async def show(
    key: str,
    /,
    *,
    show_credentials: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Show an integration and where its provider sends webhooks.

    Args:
        key: Its unique key.
        show_credentials: Show the credentials in clear.
        as_json: Print JSON, credentials in clear.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.get_integration(key)
    if as_json:
        render.print_json(answer)
    else:
        render.integration(answer, shows_credentials=show_credentials)


@app.command(name="list")
async def list_(*, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER) -> None:
    """List integrations.

    Args:
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.list_integrations()
    (render.print_json if as_json else render.integrations)(answer)


@app.command
async def delete(
    key: str,
    /,
    *,
    yes: Annotated[bool, Parameter(name=("--yes", "-y"), negative="")] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Delete an integration with its connections and their records.

    Args:
        key: Its unique key.
        yes: Do not ask.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        connections = (await client.list_connections(key))["connections"]
        if connections and not yes:
            what = "connection" if len(connections) == 1 else "connections"
            msg = f"{key} has {len(connections)} {what}, whose records would be deleted"
            raise UsageError(msg, hint="say --yes to delete them all")
        answer = await client.delete_integration(key)
    render.done(answer, f"Deleted the integration {key}.", as_json=as_json)


def _credentials(**given: str | None) -> dict[str, str | None] | None:
    """Return the credentials that are given; an empty text removes one."""
    named = {
        name: text_value(value, f"--{name.replace('_', '-')}").strip() or None
        for name, value in given.items()
        if value is not None
    }
    return named or None
