"""What an entry says of token requests: where they go, what they carry, where the token stands.

All texts in addresses, parameters and headers are templates.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, JsonValue

from perdure.providers.fields import Entry, HeaderTemplates, Params, Texts

__all__ = [
    "BodyFormat",
    "JwtToken",
    "Signature",
    "TokenFields",
    "TokenRequestMethod",
    "TokenResponse",
    "TokenStep",
]

BodyFormat: TypeAlias = Literal["form", "json", "query", "xml"]
"""How the parameters of a token request are sent."""

TokenRequestMethod: TypeAlias = Literal["GET", "POST", "PUT"]


class Signature(Entry):
    """How a token is signed that we make ourselves.

    Attributes:
        protocol: Kind of key of a JWT, or WSSE.
        hmac_secret_encoding: How the secret of an HMAC is written.
    """

    protocol: Literal["RSA", "HMAC", "EC", "WSSE"]
    hmac_secret_encoding: Literal["hex", "utf8", "base64"] = "utf8"  # noqa: S105 an encoding


class JwtToken(Entry):
    """A token that we make ourselves.

    Attributes:
        signing_key: Template of the key.
        expires_in_ms: How long it is valid, in milliseconds.
        header: Header of the JWT; texts are templates.
        payload: Claims of the JWT; texts are templates.
    """

    signing_key: str | None = None
    expires_in_ms: Annotated[int, Field(gt=0)] = 300_000
    header: Params = Field(default_factory=dict)
    payload: Params = Field(default_factory=dict)


class TokenResponse(Entry):
    """Where the answer to a token request says what.

    Attributes:
        token: Dotted path of the token; empty where the whole answer is the token.
        token_expiration: Dotted path of when it expires.
        token_expiration_strategy: Whether that is a moment or a number of seconds from now.
        refresh_token: Dotted path of the token that gets the next one.
    """

    token: str
    token_expiration: str | None = None
    token_expiration_strategy: Literal["expireAt", "expireIn"] = "expireIn"  # noqa: S105 a way
    refresh_token: str | None = None


class TokenStep(Entry):
    """A further request of TWO_STEP, whose templates may name `${stepN.<path>}` of those before.

    Attributes:
        token_url: Where it goes.
        token_request_method: POST if None.
        token_params: What it carries.
        token_headers: Its headers.
        body_format: How the parameters are sent; None is as the first request.
    """

    token_url: str
    token_request_method: TokenRequestMethod | None = None
    token_params: Params = Field(default_factory=dict)
    token_headers: HeaderTemplates = Field(default_factory=dict)
    body_format: BodyFormat | None = None


class TokenFields(Entry):
    """Fields of the modes that get or make tokens.

    Attributes:
        token_url: Where tokens come from; by auth mode where the provider has several.
        token_params: Added to the request, such as `grant_type`.
        token_headers: TWO_STEP: its headers.
        token_url_skip_encode: Parameters that go into the request as they are.
        token_request_method: TWO_STEP: its method, POST if None.
        body_format: How its parameters are sent; None is what the mode is used to.
        refresh_url: Where tokens are refreshed, `token_url` if None.
        refresh_params: Take the place of `token_params` for that.
        refresh_token_params: TWO_STEP: what a refresh carries; None without one.
        refresh_token_headers: TWO_STEP: headers of a refresh.
        token_expiration_buffer: Seconds before its end at which a token is refreshed; None is the
            engine's own.
        token_response: TWO_STEP: where the answer says what.
        token_expires_in_ms: TWO_STEP: how long a token is valid, in milliseconds, where the
            answer does not say.
        additional_steps: TWO_STEP: requests that follow the first one, in order.
        proxy_header_authorization: TWO_STEP: template of the `Authorization` header of requests.
        assertion: A signed statement that is sent along: a SAML assertion or a JWT.
        signature: JWT and SIGNATURE: how it is signed.
        token: JWT and SIGNATURE: what is made.
    """

    token_url: str | dict[str, str] | None = None
    token_params: Params = Field(default_factory=dict)
    token_headers: HeaderTemplates = Field(default_factory=dict)
    token_url_skip_encode: Texts = ()
    token_request_method: TokenRequestMethod | None = None
    body_format: BodyFormat | None = None
    refresh_url: str | None = None
    refresh_params: Params | None = None
    refresh_token_params: Params | None = None
    refresh_token_headers: HeaderTemplates = Field(default_factory=dict)
    token_expiration_buffer: Annotated[int, Field(ge=0)] | None = None
    token_response: TokenResponse | None = None
    token_expires_in_ms: Annotated[int, Field(gt=0)] | None = None
    additional_steps: tuple[TokenStep, ...] = ()
    proxy_header_authorization: str | None = None
    assertion: dict[str, JsonValue] | None = None
    signature: Signature | None = None
    token: JwtToken | None = None
