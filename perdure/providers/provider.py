"""One entry of the providers catalogue.

The fields are those of a `providers.yaml`. Fields that nothing here reads are kept as they are, so
that an entry written for another engine loads and can be shown again in full.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    field_validator,
)

from perdure.providers.webhook_rules import WebhookRules

__all__ = [
    "AuthMode",
    "Provider",
    "ProviderProxy",
    "ProviderRetry",
    "RetryInBody",
    "Verification",
]


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


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str | int) else value


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _as_texts(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _as_text(text) for name, text in value.items() if text is not None}
    return value


HeaderName = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1)]
HeaderNames = Annotated[tuple[HeaderName, ...], BeforeValidator(_one_or_many)]
Templates = Annotated[dict[str, str], BeforeValidator(_as_texts)]
HeaderTemplates = Annotated[dict[HeaderName, str], BeforeValidator(_as_texts)]
StatusPattern = Annotated[
    str,
    BeforeValidator(_as_text),
    StringConstraints(pattern=r"^(\d{3}|\dxx|\d{3}-\d{3})$", to_lower=True, strip_whitespace=True),
]


class RetryInBody(_Entry):
    """Where an error's body says how long to wait.

    Attributes:
        path: Dotted path of a text or number in the body.
        value: Regular expression; its first group (or all of it) is the moment or the seconds.
        strategy: Whether what was found is a moment (`at`) or a number of seconds (`after`).
    """

    path: str
    value: str = r".+"
    strategy: Literal["at", "after"] = "after"

    @field_validator("value")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value


class ProviderRetry(_Entry):
    """How the provider says that a request may be repeated, and when.

    Attributes:
        at: Headers with the moment: epoch seconds, epoch milliseconds or a date.
        after: Headers with seconds to wait.
        remaining: Header with the requests left; at "0" the refusal is a matter of time. While it
            shows more than 0, `at` is not a reason to wait.
        error_code: Statuses that may be repeated: `"403"`, `"5xx"`, `"500-502"`.
        in_body: Where the body says how long to wait.
    """

    at: HeaderNames = ()
    after: HeaderNames = ()
    remaining: HeaderName | None = None
    error_code: Annotated[tuple[StatusPattern, ...], BeforeValidator(_one_or_many)] = ()
    in_body: RetryInBody | None = None

    def lists(self, status: int) -> bool:
        """Return whether `error_code` covers a status."""
        for pattern in self.error_code:
            first, _, last = pattern.partition("-")
            if int(first.replace("x", "0")) <= status <= int((last or first).replace("x", "9")):
                return True
        return False


class Verification(_Entry):
    """The request that shows whether credentials work.

    Attributes:
        endpoints: Tried in order until one answers.
    """

    method: str = "GET"
    endpoints: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = Field(
        default=(), validation_alias=AliasChoices("endpoints", "endpoint")
    )
    headers: HeaderTemplates = Field(default_factory=dict)
    base_url_override: str | None = None
    data: JsonValue = None


class ProviderProxy(_Entry):
    """How requests to the provider are made.

    Attributes:
        base_url: Template; `a || b` takes the first that resolves.
        headers: Templates sent with each request; one that does not resolve is left out.
        query: The same for query parameters.
        retry: When a refused request may be repeated.
        paginate: Defaults of `nango.paginate`, with the names that it takes.
        idempotency_header: Header in which the provider takes a key that makes a repeated POST
            count once, such as `Idempotency-Key`.
        forward_headers_on_redirect: Keep credentials when a redirect leaves the origin.
        verification: The request that shows whether credentials work.
    """

    base_url: str | None = None
    headers: HeaderTemplates = Field(default_factory=dict)
    query: Templates = Field(default_factory=dict)
    retry: ProviderRetry = Field(default_factory=ProviderRetry)
    paginate: dict[str, JsonValue] | None = None
    idempotency_header: HeaderName | None = None
    forward_headers_on_redirect: bool = False
    verification: Verification | None = None


class Provider(_Entry):
    """One provider.

    Attributes:
        name: Key of the entry, what an integration names as its provider.
        alias: Entry that this one was made from.
        connection_config: What a connection must or may say, by name (simplified JSON schema).
        webhook: How its webhooks are verified and attributed, None where it sends none.
    """

    name: str
    display_name: str
    auth_mode: AuthMode
    alias: str | None = None
    categories: tuple[str, ...] = ()
    docs: str | None = None
    proxy: ProviderProxy = Field(default_factory=ProviderProxy)
    connection_config: dict[str, Any] = Field(default_factory=dict)
    webhook: WebhookRules | None = None
