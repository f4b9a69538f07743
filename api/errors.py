"""The one place where errors become answers.

Every answer that is not a success has the same envelope:
`{"error": {"code", "message", "errors"?, "payload"?, "upstream"?}}`. What is unexpected is logged
once and answered without a word about our insides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from perdure.errors import (
    ConflictError,
    CredentialsError,
    FieldError,
    InvalidInputError,
    NotFoundError,
    PerdureError,
    UnauthorizedError,
    UnavailableError,
    UpstreamError,
)
from perdure.records.canonical import to_json

__all__ = [
    "ApiError",
    "error_response",
    "install_error_handlers",
    "not_found_as_404",
    "read_body",
    "status_of",
]

log = structlog.get_logger(__name__)

_Model = TypeVar("_Model", bound=BaseModel)

_STATUSES: tuple[tuple[type[PerdureError], int], ...] = (
    (InvalidInputError, 400),
    (UnauthorizedError, 401),
    (NotFoundError, 404),
    (ConflictError, 409),
    (UpstreamError, 424),
    (CredentialsError, 424),
    (UnavailableError, 503),
)

# Nango's clients know these as bad requests, though what they name does not exist.
_STATUSES_BY_CODE = {"unknown_connection": 400, "unknown_provider_config": 400}

_HEADERS: dict[int, dict[str, str]] = {
    401: {"www-authenticate": "Bearer"},
    503: {"retry-after": "1"},
}

# Where the invalid part stands, in the order in which it is looked at.
_INVALID = {
    "header": ("invalid_headers", "The headers are not valid; see `errors`."),
    "path": ("invalid_uri_params", "The path is not valid; see `errors`."),
    "query": ("invalid_query_params", "The query is not valid; see `errors`."),
    "body": ("invalid_body", "The body is not valid; see `errors`."),
}

_HTTP = {
    400: (400, "invalid_body", "The body could not be read."),
    404: (404, "not_found", "There is no such endpoint."),
    405: (405, "method_not_allowed", "The endpoint does not know this method."),
    413: (400, "request_too_large", "The body is too large."),
}


class ApiError(PerdureError):
    """An answer with exactly this status, where one endpoint departs from the table.

    Attributes:
        status: Status of the answer.
        upstream: The external API's answer that made an action fail.
        headers: Further headers of the answer.
        extra: Further fields of the error.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        payload: Any = None,
        upstream: Any = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code, payload=payload)
        self.status = status
        self.upstream = upstream
        self.headers = headers
        self.extra = dict(extra or {})


@contextmanager
def not_found_as_404(code: str | None = None) -> Iterator[None]:
    """Answer 404 also where clients of other endpoints know it as a bad request.

    Args:
        code: Code of the answer, None for that of the error.

    Raises:
        ApiError: Something inside does not exist.
    """
    try:
        yield
    except NotFoundError as error:
        raise ApiError(404, code or error.code, error.message) from error


def read_body(model: type[_Model], body: Mapping[str, Any]) -> _Model:
    """Return a body as a model that only the endpoint could choose.

    Raises:
        RequestValidationError: As where FastAPI reads the body.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    raise RequestValidationError([{**entry, "loc": ("body", *entry["loc"])} for entry in found])


def install_error_handlers(app: FastAPI) -> None:
    """Have everything that routers and FastAPI raise answered in the envelope."""
    for kind in (PerdureError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _handle)


def error_response(error: Exception, request: Request) -> Response:
    """Return the answer to a request that failed."""
    match error:
        case RequestValidationError():
            return _invalid_request(error, request)
        case HTTPException():
            return _http_response(error, request)
        case ApiError():
            extra = {**error.extra, "payload": error.payload, "upstream": error.upstream}
            return _respond(
                request, error.status, error.code, error.message, headers=error.headers, **extra
            )
        case PerdureError():
            status = status_of(error)
            if status == 500:
                log.error("request_failed", code=error.code, exc_info=error)
            errors = error.errors if isinstance(error, InvalidInputError) else ()
            return _respond(
                request,
                status,
                error.code,
                error.message,
                errors=_fields(errors),
                payload=error.payload,
            )
        case _:
            log.error("request_failed", exc_info=error)
            message = (
                f"Something failed on our side; our log has it under the request id {_id(request)}."
            )
            return _respond(request, 500, "server_error", message)


async def _handle(request: Request, error: Exception) -> Response:
    return error_response(error, request)


def _id(request: Request) -> str:
    return str(request.state.request_id)


def status_of(error: PerdureError) -> int:
    """Return the status of the answer that an error is."""
    if isinstance(error, ApiError):
        return error.status
    if error.code in _STATUSES_BY_CODE:
        return _STATUSES_BY_CODE[error.code]
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def _invalid_request(error: RequestValidationError, request: Request) -> Response:
    found = error.errors()
    places = {str(entry["loc"][0]) for entry in found}
    place = next((place for place in _INVALID if place in places), "body")
    code, message = _INVALID[place]
    if place == "body" and _is_not_json(request):
        code = "invalid_content_type"
        message = "Send the body as JSON, with the header `Content-Type: application/json`."
        return _respond(request, 400, code, message)
    # The value itself is never repeated: it may be a secret.
    errors = [FieldError(entry["type"], _said(entry), entry["loc"][1:]) for entry in found]
    return _respond(request, 400, code, message, errors=_fields(errors))


def _said(entry: Mapping[str, Any]) -> str:
    return str(entry["msg"]).removeprefix("Value error, ")


def _is_not_json(request: Request) -> bool:
    if request.headers.get("content-length", "0") == "0":
        return False
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return not (media_type == "application/json" or media_type.endswith("+json"))


def _http_response(error: HTTPException, request: Request) -> Response:
    status, code, message = _HTTP.get(
        error.status_code, (error.status_code, "server_error", str(error.detail))
    )
    return _respond(request, status, code, message, headers=error.headers)


def _fields(errors: Sequence[FieldError]) -> list[dict[str, Any]] | None:
    return [{"code": e.code, "message": e.message, "path": list(e.path)} for e in errors] or None


def _respond(
    request: Request,
    status: int,
    code: str,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    **extra: Any,
) -> Response:
    request.state.error_code = code
    body = {"code": code, "message": message}
    body |= {name: value for name, value in extra.items() if value is not None}
    return Response(
        to_json({"error": body}),
        status,
        {**_HEADERS.get(status, {}), **(headers or {})},
        "application/json",
    )
