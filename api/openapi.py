"""The description of the API, at `/openapi.json`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

__all__ = ["openapi_document", "operation_id"]

_SCHEME = "secretKey"
_OPEN: list[Any] = []
_FAILURES = {
    "400": "What was sent is not valid, or names what there is not.",
    "401": "There is no key, or nobody has it.",
    "403": "The key may not do this.",
    "404": "There is no such thing.",
    "409": "It does not go together with what is there.",
    "424": "The provider failed, or the connection's credentials are no good.",
    "429": "Too many requests; `Retry-After` says when to go on.",
    "503": "Postgres or Temporal does not answer; try again.",
}
"""Every operation may fail so. What else it may answer it declares by itself."""


def operation_id(route: APIRoute) -> str:
    """Return the name of an operation in generated clients: that of its function, for good."""
    return route.name


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the app."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    document["components"]["securitySchemes"] = {
        _SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "description": "Secret key of the environment.",
        }
    }
    document["security"] = [{_SCHEME: []}]
    for operations in document["paths"].values():
        for operation in operations.values():
            _declare_failures(operation)
    return document


def _declare_failures(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    failure = responses.pop("default")
    for status, meaning in _FAILURES.items():
        if status != "401" or operation.get("security") != _OPEN:
            responses.setdefault(status, failure | {"description": meaning})
