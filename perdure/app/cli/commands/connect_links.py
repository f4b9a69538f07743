"""`perdure connections connect-link`: a page on which somebody connects an account."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Group, Parameter

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import DEFAULT_SERVER, AsJson, ServerOptions, key_values
from perdure.app.cli.session import api

__all__ = ["connect_link", "end_user_of"]

_WHO = Group("Who connects", sort_key=5)
# A session is for somebody; the connections of one that names nobody say so.
_NOBODY = {"source": "perdure-cli"}

Who = Annotated[str | None, Parameter(group=_WHO)]


async def connect_link(
    *integration: str,
    user: Who = None,
    email: Who = None,
    display_name: Who = None,
    organization: Who = None,
    tag: Annotated[list[str] | None, Parameter(negative="", group=_WHO)] = None,
    config: Annotated[list[str] | None, Parameter(negative="")] = None,
    reconnect: str | None = None,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Make a link on which somebody connects an account in a browser; it is good for half an hour.

    Args:
        integration: Keys of the integrations that can be connected; all if none is given.
        user: Id of your user, to whom the connections belong.
        email: Their e-mail address.
        display_name: Their name.
        organization: Id of the organization they belong to.
        tag: Tag of the connections as NAME=VALUE; may be repeated.
        config: Parameter of the provider as NAME=VALUE, which is not asked for then; may be
            repeated. For one integration.
        reconnect: Id of a connection that gets new credentials. For one integration.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    if (reconnect is not None or config) and len(integration) != 1:
        what = "--reconnect" if reconnect is not None else "--config"
        msg = f"{what} needs the integration"
        raise UsageError(msg, hint="name one integration")
    body: dict[str, Any] = {
        "end_user": end_user_of(
            user, email=email, display_name=display_name, organization=organization
        ),
        "tags": key_values(tag, "--tag") or None,
        "integrations_config_defaults": {
            integration[0]: {"connection_config": key_values(config, "--config")}
        }
        if config
        else None,
    }
    async with api(server) as client:
        if reconnect is not None:
            answer = await client.create_reconnect_session(integration[0], reconnect, body)
        else:
            if body["end_user"] is None and body["tags"] is None:
                body["tags"] = _NOBODY
            allowed = list(integration) or None
            answer = await client.create_connect_session({**body, "allowed_integrations": allowed})
    if as_json:
        render.print_json(answer)
        return
    render.say(answer["data"]["connect_link"])
    render.note(f"Good until {answer['data']['expires_at']}, for whoever opens it.")


def end_user_of(
    user: str | None,
    *,
    email: str | None = None,
    display_name: str | None = None,
    organization: str | None = None,
) -> dict[str, Any] | None:
    """Return an end user as the API takes it, None where none is given.

    Raises:
        UsageError: There are facts about nobody.
    """
    if user is None:
        if email or display_name or organization:
            msg = "--user is missing"
            raise UsageError(msg, hint="say with --user whose e-mail address, or name, it is")
        return None
    facts = {"id": user, "email": email, "display_name": display_name}
    end_user: dict[str, Any] = {name: value for name, value in facts.items() if value is not None}
    if organization is not None:
        end_user["organization"] = {"id": organization}
    return end_user
