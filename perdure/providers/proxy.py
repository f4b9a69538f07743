"""How requests to a provider are made, repeated and checked: `proxy:` of its entry."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import AliasChoices, Field, JsonValue, field_validator

from perdure.providers.fields import (
    Entry,
    HeaderName,
    HeaderNames,
    HeaderTemplates,
    Params,
    StatusPatterns,
    Templates,
    Texts,
)

__all__ = ["ProviderProxy", "ProviderRetry", "RetryInBody", "Verification"]


class RetryInBody(Entry):
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


class ProviderRetry(Entry):
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
    error_code: StatusPatterns = ()
    in_body: RetryInBody | None = None

    def lists(self, status: int) -> bool:
        """Return whether `error_code` covers a status."""
        for pattern in self.error_code:
            first, _, last = pattern.partition("-")
            if int(first.replace("x", "0")) <= status <= int((last or first).replace("x", "9")):
                return True
        return False


class Verification(Entry):
    """The request that shows whether credentials work. All texts are templates.

    Attributes:
        method: GET unless it says otherwise.
        endpoints: Tried in order until one succeeds.
        headers: Sent over the provider's own.
        base_url_override: Takes the place of the provider's base URL.
        data: Body.
        ok_path: Dotted path of a flag that has to be true, for APIs whose failures are 200, too.
    """

    method: str = "GET"
    endpoints: Texts = Field(default=(), validation_alias=AliasChoices("endpoints", "endpoint"))
    headers: HeaderTemplates = Field(default_factory=dict)
    base_url_override: str | None = None
    data: JsonValue = None
    ok_path: str | None = None


class ProviderProxy(Entry):
    """How requests to the provider are made.

    Attributes:
        base_url: Template; `a || b` takes the first that resolves.
        headers: Templates sent with each request; one that does not resolve is left out.
        query: The same for query parameters.
        body: The same for the fields of JSON bodies.
        connection_config: Templates that fill a connection's parameters in.
        decompress: Accepted; bodies are always decompressed.
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
    body: Params = Field(default_factory=dict)
    connection_config: Params = Field(default_factory=dict)
    decompress: bool = False
    retry: ProviderRetry = Field(default_factory=ProviderRetry)
    paginate: dict[str, JsonValue] | None = None
    idempotency_header: HeaderName | None = None
    forward_headers_on_redirect: bool = False
    verification: Verification | None = None
