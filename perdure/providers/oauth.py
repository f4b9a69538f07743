"""What an entry says of OAuth: where consent is asked for, and how tokens are got and refreshed.

All texts in addresses, parameters and headers are templates.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from perdure.providers.fields import Entry, Params, Templates, Texts

__all__ = ["OAuthFields"]


class OAuthFields(Entry):
    """Fields of OAUTH2, OAUTH2_CC, OAUTH1 and the modes that build on them.

    Attributes:
        authorization_url: Page where a person consents.
        authorization_params: Added to its query, over the standard ones.
        authorization_url_replacements: Texts of the complete address and what takes their place.
        authorization_url_fragment: Comes after `#`; the query stands in it where it is set.
        authorization_url_skip_encode: Parameters that go into the query as they are.
        authorization_url_skip_empty: Leave parameters out that are empty.
        authorization_code_param_in_callback: Parameter of the callback with the code, `code` if
            None.
        authorization_method: Whether the client's id and secret go into the token request's
            `Authorization` header or into its body; None is the body.
        scope_separator: What stands between scopes.
        default_scopes: Asked for besides those that the integration names.
        available_scopes: Scopes that may be asked for; empty where they are not listed.
        disable_pkce: The provider takes no `code_challenge`; it is sent with S256 otherwise.
        alternate_access_token_response_path: Dotted path of the token in the answer, where it is
            not at the top.
        expires_in_unit: Unit of the answer's `expires_in`.
        token_request_auth_method: How the client shows who it is at the token endpoint: HTTP
            Basic, a JWT that its private key signs, or only by `token_params` (`custom`).
        redirect_uri_metadata: Parameters of the callback that are kept in `connection_config`.
        token_response_metadata: Dotted paths of the token's answer that are kept there.
        webhook_response_metadata: Fields of installation webhooks that are kept there.
        require_client_certificate: Token requests need the client's TLS certificate.
        client_registration: How a client comes to be at an MCP server.
        registration_url: Where it registers itself.
        request_url: OAuth 1: gives a temporary token.
        request_params: OAuth 1: added to that request.
        request_http_method: OAuth 1: its method.
        token_http_method: OAuth 1: method of the request for the token.
        signature_method: OAuth 1 and TBA: how requests are signed.
    """

    authorization_url: str | None = None
    authorization_params: Templates = Field(default_factory=dict)
    authorization_url_replacements: Templates = Field(default_factory=dict)
    authorization_url_fragment: str | None = None
    authorization_url_skip_encode: Texts = ()
    authorization_url_skip_empty: bool = False
    authorization_code_param_in_callback: str | None = None
    authorization_method: Literal["header", "body"] | None = None
    scope_separator: str = " "
    default_scopes: Texts = ()
    available_scopes: Texts = ()
    disable_pkce: bool = False
    alternate_access_token_response_path: str | None = None
    expires_in_unit: Literal["seconds", "milliseconds"] = "seconds"
    token_request_auth_method: Literal["basic", "custom", "private_key_jwt"] | None = None
    redirect_uri_metadata: Texts = ()
    token_response_metadata: Texts = ()
    webhook_response_metadata: Texts = ()
    require_client_certificate: bool = False
    client_registration: Literal["dynamic", "static", "cimd"] | None = None
    registration_url: str | None = None
    request_url: str | None = None
    request_params: Params = Field(default_factory=dict)
    request_http_method: Literal["GET", "POST", "PUT"] | None = None
    token_http_method: Literal["GET", "POST", "PUT"] | None = None
    signature_method: Literal["HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "PLAINTEXT"] | None = None
