"""For whom a token is got: the provider's entry, the integration's client, the connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import JsonValue

from perdure.auth.errors import TokenError
from perdure.connections.client_credentials import ClientCredentials, client_of
from perdure.connections.credentials import Credentials, reveal_credentials
from perdure.connections.interpolation import TemplateVariables, interpolate_url, variables_in
from perdure.providers.provider import Provider

__all__ = ["AuthTarget", "filled_url"]


@dataclass(frozen=True, slots=True)
class AuthTarget:
    """For whom a token is got.

    Attributes:
        provider: Entry of the provider.
        client: What the integration authenticates with.
        connection_config: Parameters of the connection.
        integration_config: Parameters of the integration, over those of the client.
    """

    provider: Provider
    client: ClientCredentials
    connection_config: Mapping[str, JsonValue] = field(default_factory=dict)
    integration_config: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)

    def for_credentials(self, credentials: Credentials) -> AuthTarget:
        """Return the same with the client that credentials bring along, where they do."""
        return replace(self, client=client_of(credentials, self.client))

    def variables(
        self,
        credentials: Credentials | None = None,
        *,
        steps: Sequence[JsonValue] = (),
        now: datetime | None = None,
        further: Mapping[str, JsonValue] | None = None,
    ) -> TemplateVariables:
        """Return what templates of token requests may name.

        Args:
            credentials: Those of the connection, None before it has any.
            steps: Answers to the requests made so far.
            now: The present moment.
            further: More that `${credentials.<name>}` finds.
        """
        revealed = {} if credentials is None else reveal_credentials(credentials)
        link: dict[str, JsonValue] = {}
        if self.client.app_link:
            link["appPublicLink"] = self.client.app_link.rstrip("/")
        return TemplateVariables(
            connection_config={**self.connection_config, **link},
            credentials={**revealed, **(further or {})},
            client_id=self.client.client_id or None,
            client_secret=self.client.client_secret or None,
            integration_config={**self.client.config, **self.integration_config},
            steps=steps,
            now=now,
        )

    def scopes(self) -> tuple[str, ...]:
        """Return the scopes to ask for: the connection's, or the provider's and the integration's.

        Those of the provider come along because without them its tokens are of little use, as
        without `offline_access` they are not refreshed.
        """
        for name in ("oauth_scopes_override", "oauth_scopes"):
            if isinstance(given := self.connection_config.get(name), str | list) and given:
                return ClientCredentials.of({"scopes": given}).scopes
        return tuple(dict.fromkeys((*self.provider.default_scopes, *self.client.scopes)))


def filled_url(
    template: str | None, target: AuthTarget, variables: TemplateVariables, field_name: str
) -> str:
    """Return the URL that a template makes.

    Args:
        template: None if the entry has none.
        target: For whom.
        variables: What it may name.
        field_name: Field of the entry, for messages.

    Raises:
        TokenError: Lasting, if there is no template or it names what is not there.
    """
    name = target.provider.name
    if template is None:
        raise TokenError(
            f"The entry of the provider {name!r} has no {field_name}.",
            lasting=True,
            code="incomplete_provider",
        )
    url = interpolate_url(template, variables)
    if url is None:
        needed = ", ".join(variables_in(template))
        raise TokenError(
            f"The {field_name} of the provider {name!r} needs {needed}, which the connection does "
            "not have, or which cannot stand in a host name.",
            lasting=True,
            code="missing_connection_config",
        )
    return url
