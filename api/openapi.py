"""The description of the API, at `/openapi.json`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

__all__ = ["openapi_document", "operation_id"]

_SCHEME = "secretKey"


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
    return document
