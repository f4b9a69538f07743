"""What a script asks for and what it gets: the data types of outbound HTTP.

They travel through Temporal: immutable, tolerant of fields they do not know, and every field that
may be added later has a default. Nothing here does I/O.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from perdure.errors import FieldError, InvalidInputError

__all__ = [
    "IDEMPOTENT",
    "METHODS",
    "READS",
    "CursorPaginate",
    "HeaderMap",
    "HttpRequest",
    "HttpResponse",
    "LinkPaginate",
    "Method",
    "OffsetPaginate",
    "Paginate",
    "Params",
    "ResponseType",
    "RetryHeader",
    "merge_paginate",
    "upper_case",
]

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
METHODS: tuple[Method, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
ResponseType: TypeAlias = Literal["json", "text", "arraybuffer", "blob", "document", "stream"]
Scalar: TypeAlias = str | int | float | bool | None
Params: TypeAlias = str | dict[str, Scalar | list[Scalar]]


IDEMPOTENT: frozenset[str] = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods whose requests may be made twice."""

READS: frozenset[str] = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose requests change nothing."""


def upper_case(value: object) -> object:
    """Return a text in upper case, anything else as it is."""
    return value.upper() if isinstance(value, str) else value


def _header_map(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {
        str(name).lower(): str(text) if isinstance(text, int | float) else text
        for name, text in value.items()
        if text is not None
    }


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


HeaderMap = Annotated[dict[str, str], BeforeValidator(_header_map)]
"""Headers with lower-case names; those that are None are left out."""

HeaderName = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1)]
HeaderNames = Annotated[tuple[HeaderName, ...], BeforeValidator(_one_or_many)]


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RetryHeader(_Payload):
    """Headers of this API that say when to try again; they win over the provider's own.

    Attributes:
        at: Names of headers with a moment: epoch seconds, epoch milliseconds or a date.
        after: Names of headers with seconds to wait.
    """

    at: HeaderNames = ()
    after: HeaderNames = ()


class HttpRequest(_Payload):
    """One request to a provider's API, without anything secret.

    Attributes:
        method: In any case; GET by default.
        endpoint: Path below the provider's base URL, or a URL that starts with it.
        headers: Sent over the provider's headers of the same name.
        params: Query: a mapping (lists repeat the name, None leaves it out) or text `a=b&c=d`.
        data: Body of POST, PUT, PATCH and DELETE: JSON, unless the `content-type` header says
            `application/x-www-form-urlencoded` or `multipart/form-data`. Text is sent as it is.
        retries: Attempts after the first one. None leaves it to the engine, which repeats only
            what is safe to repeat; a number says that a repeated POST or PATCH is fine too.
        retry_on: Further statuses to repeat the request for.
        retry_header: Headers of the answer that say when to try again.
        base_url_override: Takes the place of the provider's base URL and gets the credentials.
        response_type: `json` and `text` say how to decode the body; `arraybuffer`, `blob` and
            `stream` ask for its bytes as base64. By default the content type decides.
        decompress: Accepted for compatibility; bodies are always decompressed.
        forward_headers_on_redirect: Send credentials along when a redirect leaves the origin.
        provider_config_key: Integration of another connection to use; None for the script's own.
        connection_id: The other connection.
        timeout_s: Seconds for the whole exchange, redirects and body included.
        next_link: URL of a further page, from the provider's answer. It takes the place of
            `endpoint` and `params`, and gets no credentials if it leaves the provider's origin.
        idempotency_key: Sent in the header that the provider takes such a key in; makes a
            repeated POST count once.
    """

    method: Annotated[Method, BeforeValidator(upper_case)] = "GET"
    endpoint: str
    headers: HeaderMap = Field(default_factory=dict)
    params: Params = Field(default_factory=dict)
    data: JsonValue = None
    retries: int | None = Field(default=None, ge=0)
    retry_on: tuple[int, ...] = ()
    retry_header: RetryHeader | None = None
    base_url_override: str | None = None
    response_type: ResponseType | None = None
    decompress: bool = False
    forward_headers_on_redirect: bool = False
    provider_config_key: str | None = None
    connection_id: str | None = None
    timeout_s: float = Field(default=60.0, gt=0, le=3600)
    next_link: str | None = None
    idempotency_key: str | None = None

    @model_validator(mode="after")
    def _body_fits_method(self) -> Self:
        if self.data is not None and self.method in READS:
            raise ValueError(f"a {self.method} request takes no data; send it as params")
        return self


class HttpResponse(_Payload):
    """The answer to a request; its status is 2xx, every other one is raised.

    Attributes:
        status: HTTP status.
        headers: Headers with lower-case names; repeated ones are joined by a comma.
        data: Decoded JSON, text, or base64 of the bytes.
        is_base64: Whether `data` is base64, because bytes were asked for or it is not text.
        echoed: Credentials of the connection that the answer repeats.
    """

    status: int
    headers: dict[str, str] = Field(default_factory=dict)
    data: JsonValue = None
    is_base64: bool = False
    echoed: tuple[str, ...] = ()

    def json(self) -> Any:  # type: ignore[override]  # pydantic's method of that name is deprecated
        """Return the decoded body, in the manner of HTTP clients."""
        return self.data

    def content(self) -> bytes:
        """Return the body as bytes.

        Raises:
            TypeError: If the body was decoded; ask for it by `response_type="arraybuffer"`.
        """
        if not self.is_base64 or not isinstance(self.data, str):
            raise TypeError("The body was decoded; use response_type='arraybuffer' for its bytes.")
        return base64.b64decode(self.data)


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


OptionalName = Annotated[str | None, BeforeValidator(_blank_is_none)]
Name = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class _Paginate(_Payload):
    """Options of every kind of pagination.

    Attributes:
        limit: Elements a page.
        limit_name_in_request: Parameter that carries `limit`.
        response_path: Dotted path of the list in the body; None when the body is the list.
        in_body: Put the parameters into the body, where their dots make nested objects. By
            default so for POST, PUT and PATCH.
        has_more_path_in_response: Dotted path of a flag. False ends the pagination; true lets it
            go on over a page that is shorter than `limit` or, with a cursor, empty.
        empty_when_missing: Take a body without `response_path` for an empty page, for providers
            that leave empty lists out. By default that is an error.
    """

    limit: int | None = Field(default=None, ge=1)
    limit_name_in_request: OptionalName = None
    response_path: OptionalName = None
    in_body: bool | None = None
    has_more_path_in_response: OptionalName = None
    empty_when_missing: bool = False

    def _with_sendable_limit(self) -> Self:
        if self.limit is not None and self.limit_name_in_request is None:
            raise ValueError("limit needs limit_name_in_request")
        return self


class CursorPaginate(_Paginate):
    """The answer holds a cursor that the next request carries.

    Attributes:
        cursor_name_in_request: Parameter that carries the cursor.
        cursor_path_in_response: Dotted path of the next cursor in the body.
        cursor_path_in_last_item: Dotted path of the next cursor in the last element of the page,
            for APIs whose next page starts after an id. One of the two is needed.
    """

    type: Literal["cursor"] = "cursor"
    cursor_name_in_request: Name
    cursor_path_in_response: OptionalName = None
    cursor_path_in_last_item: OptionalName = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.cursor_path_in_response is None) == (self.cursor_path_in_last_item is None):
            raise ValueError("set one of cursor_path_in_response and cursor_path_in_last_item")
        return self._with_sendable_limit()


class LinkPaginate(_Paginate):
    """The answer holds the URL of the next page.

    Attributes:
        link_rel_in_response_header: Relation in the `Link` header, usually `next`; wins.
        link_path_in_response_body: Dotted path of the URL in the body.
    """

    type: Literal["link"] = "link"
    link_rel_in_response_header: OptionalName = None
    link_path_in_response_body: OptionalName = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not (self.link_rel_in_response_header or self.link_path_in_response_body):
            raise ValueError("set link_rel_in_response_header or link_path_in_response_body")
        return self._with_sendable_limit()


class OffsetPaginate(_Paginate):
    """The request carries a number that grows.

    Attributes:
        offset_name_in_request: Parameter that carries the number.
        offset_start_value: Number of the first page, unless the request has the parameter.
        offset_calculation_method: Grow by the elements received, or by one a page.
    """

    type: Literal["offset"] = "offset"
    offset_name_in_request: Name
    offset_start_value: int = 0
    offset_calculation_method: Literal["by-response-size", "per-page"] = "by-response-size"


Paginate = Annotated[CursorPaginate | LinkPaginate | OffsetPaginate, Field(discriminator="type")]
"""Options of one paginated read."""

_PAGINATE: TypeAdapter[CursorPaginate | LinkPaginate | OffsetPaginate] = TypeAdapter(Paginate)
_CURSOR_PATHS = frozenset({"cursor_path_in_response", "cursor_path_in_last_item"})


def merge_paginate(
    default: Mapping[str, JsonValue] | None, override: Mapping[str, JsonValue] | Paginate | None
) -> Paginate:
    """Return the options of a paginated read: the provider's, where the request's do not win.

    Args:
        default: `proxy.paginate` of the provider.
        override: What the script gave, as a mapping or complete.

    Raises:
        InvalidInputError: With code `invalid_pagination`, if there are no options at all or they
            do not fit together.
    """
    given: Mapping[str, JsonValue] | None
    if isinstance(override, _Paginate):
        given = {**override.model_dump(exclude_unset=True), "type": override.type}
    else:
        given = override
    base = dict(default or {})
    if not base and not given:
        raise InvalidInputError(
            "The provider has no pagination of its own, so the request must say how to paginate: "
            "give `paginate` with a `type` of cursor, link or offset.",
            code="invalid_pagination",
        )
    if given and _CURSOR_PATHS & given.keys():
        base = {name: value for name, value in base.items() if name not in _CURSOR_PATHS}
    try:
        return _PAGINATE.validate_python({**base, **(given or {})})
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    problems = [
        FieldError(code=entry["type"], message=entry["msg"], path=("paginate", *entry["loc"]))
        for entry in found
    ]
    raise InvalidInputError(
        "The pagination options do not fit together: "
        + "; ".join(f"{'.'.join(map(str, p.path))}: {p.message}" for p in problems),
        code="invalid_pagination",
        errors=problems,
    )
