"""`perdure integrations`: which providers an environment speaks to, under which key."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import (
    DEFAULT_SERVER,
    USE,
    AsJson,
    ServerOptions,
    json_value,
    text_value,
)
from perdure.app.cli.session import api

__all__ = ["app"]

app = App(name="integrations", group=USE, help="Make, change and show integrations.")

Secret = Annotated[
    str | None, Parameter(env_var="PERDURE_WEBHOOK_SECRET", allow_leading_hyphen=True)
]


@app.command
async def create(
    key: str,
    /,
    *,
    provider: str,
    display_name: str | None = None,
    webhook_secret: Secret = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Make an integration.

    Args:
        key: Unique key: the name of the integration in nango.yaml.
        provider: Name of the provider in the catalogue, such as stripe.
        display_name: Name for people.
        webhook_secret: What the provider signs its webhooks with: text, @FILE, or -.
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
                "credentials": _credentials(webhook_secret),
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
    webhook_secret: Secret = None,
    forward_webhooks: bool | None = None,
    webhook_rules: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Change an integration; what is not given stays.

    Args:
        key: Its unique key.
        display_name: Name for people.
        webhook_secret: What the provider signs its webhooks with: text, @FILE, or -; "" for none.
        forward_webhooks: Hand on to your application what the provider sends.
        webhook_rules: What takes the place of the provider's rules: JSON, @FILE, or -; null for
            nothing.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    changes = {
        "display_name": display_name,
        "credentials": _credentials(webhook_secret),
        "forward_webhooks": forward_webhooks,
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


def _credentials(webhook_secret: str | None) -> dict[str, str | None] | None:
    if webhook_secret is None:
        return None
    return {"webhook_secret": text_value(webhook_secret, "--webhook-secret").strip() or None}
