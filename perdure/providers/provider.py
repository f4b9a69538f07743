"""One entry of the providers catalogue.

The fields are those of a `providers.yaml`. Fields that nothing here reads are kept as they are, so
that an entry written for another engine loads and can be shown again in full.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from perdure.providers.fields import Texts
from perdure.providers.inputs import InputFields
from perdure.providers.oauth import OAuthFields
from perdure.providers.proxy import ProviderProxy
from perdure.providers.tokens import TokenFields
from perdure.providers.webhook_rules import WebhookRules

__all__ = ["AuthMode", "Provider"]


class AuthMode(StrEnum):
    """How connections of a provider authenticate."""

    API_KEY = "API_KEY"
    APP = "APP"
    AWS_SIGV4 = "AWS_SIGV4"
    BASIC = "BASIC"
    BILL = "BILL"
    CUSTOM = "CUSTOM"
    INSTALL_PLUGIN = "INSTALL_PLUGIN"
    JWT = "JWT"
    MCP_OAUTH2 = "MCP_OAUTH2"
    MCP_OAUTH2_GENERIC = "MCP_OAUTH2_GENERIC"
    NONE = "NONE"
    OAUTH1 = "OAUTH1"
    OAUTH2 = "OAUTH2"
    OAUTH2_CC = "OAUTH2_CC"
    SIGNATURE = "SIGNATURE"
    TBA = "TBA"
    TWO_STEP = "TWO_STEP"


class Provider(InputFields, OAuthFields, TokenFields):
    """One provider. What is said of tokens, of OAuth and of inputs stands in the base classes.

    Attributes:
        name: Key of the entry, what an integration names as its provider.
        display_name: Name for people.
        auth_mode: How its connections authenticate.
        alias: Entry that this one was made from.
        categories: What kind of product it is.
        docs: Page about its API.
        docs_connect: Page that helps people to connect an account.
        setup_guide_url: Page that helps to register an application with it.
        proxy: How requests to it are made.
        webhook: How its webhooks are verified and attributed, None where it sends none.
        webhook_routing_script: Names another engine's code for webhooks; `webhook` does this here.
        webhook_user_defined_secret: People choose the secret of its webhooks themselves.
        webhook_allowed_query_params: Parameters of a webhook's query that are kept.
        post_connection_script: Names another engine's code that runs for new connections.
        pre_connection_deletion_script: The same for connections that are deleted.
        credentials_verification_script: The same for credentials; `proxy.verification` does this
            here.
    """

    name: str
    display_name: str
    auth_mode: AuthMode
    alias: str | None = None
    categories: Texts = ()
    docs: str | None = None
    docs_connect: str | None = None
    setup_guide_url: str | None = None
    proxy: ProviderProxy = Field(default_factory=ProviderProxy)
    webhook: WebhookRules | None = None
    webhook_routing_script: str | None = None
    webhook_user_defined_secret: bool = False
    webhook_allowed_query_params: Texts = ()
    post_connection_script: str | None = None
    pre_connection_deletion_script: str | None = None
    credentials_verification_script: str | None = None

    def token_url_for(self, mode: AuthMode | None = None) -> str | None:
        """Return the template of the address that gives tokens, None where there is none.

        Args:
            mode: Where the entry has one for each mode; the provider's own if None.
        """
        if isinstance(self.token_url, dict):
            return self.token_url.get(mode or self.auth_mode)
        return self.token_url
