"""The description of the environment's own endpoints, and a page that shows it.

The document needs the key, as everything does that is the environment's. A browser cannot send a
key when it opens a page, so the page needs none: it is the same few static files for everybody,
holds nothing of any environment, and asks for the key. It keeps the key in its memory only and
sends it nowhere but to this server, which its content security policy enforces as well.
"""

from __future__ import annotations

import asyncio
from functools import cache
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Response
from starlette.responses import FileResponse

from api.dependencies import Caller, Deps
from api.environment_openapi import environment_openapi
from perdure.errors import NotFoundError
from perdure.records.canonical import to_json

__all__ = ["router"]

_PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

router = APIRouter(tags=["environment"])


@router.get(
    "/openapi/{environment}.json",
    response_class=Response,
    responses={200: {"description": "OpenAPI 3.1.", "content": {"application/json": {}}}},
)
async def get_environment_openapi(deps: Deps, caller: Caller, environment: str) -> Response:
    """Describe what the environment's `nango.yaml` declares, for client generators."""
    if environment != caller.name:
        msg = f"The key is not that of an environment {environment!r}."
        raise NotFoundError(msg)
    bundle = caller.active_bundle
    config = await deps.bundles.config(bundle) if bundle else None
    # Thousands of models take a while.
    document = await asyncio.to_thread(environment_openapi, caller.name, bundle, config)
    return Response(to_json(document), media_type="application/json")


@router.get("/docs/{environment}", include_in_schema=False, response_class=Response)
async def get_docs_page(environment: str) -> Response:  # noqa: ARG001 - the page reads it itself
    """Return the page; what it is about stands in its address."""
    return _file(_assets()["docs.html"])


@router.get("/docs/assets/{name}", include_in_schema=False, response_class=Response)
async def get_docs_asset(name: str) -> Response:
    """Return a script or style sheet of the page."""
    if name not in _assets():
        msg = f"The page has no file {name!r}."
        raise NotFoundError(msg)
    return _file(_assets()[name])


def _file(path: Path) -> Response:
    # The system's own table of types may be anything, and browsers are told not to guess.
    return FileResponse(path, media_type=_MEDIA_TYPES[path.suffix], headers=_PAGE_HEADERS)


@cache
def _assets() -> dict[str, Path]:
    """Return the files of the page; Swagger UI comes with a package, so no other host serves it."""
    ours = Path(__file__).parent.parent / "static"
    swagger_ui = Path(str(files("fastapi_offline"))) / "static"
    return {
        **{name: ours / name for name in ("docs.html", "docs.js", "docs.css")},
        **{name: swagger_ui / name for name in ("swagger-ui-bundle.js", "swagger-ui.css")},
    }
