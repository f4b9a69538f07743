"""Style, script and pictures of the pages; they come with the package, none from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

__all__ = ["ASSETS", "router"]

ASSETS = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "idiomorph.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""Media types by name."""

router = APIRouter()


@router.get("/assets/{name}")
async def get_asset(name: str) -> Response:
    """Return a file of the pages."""
    if name not in ASSETS:
        raise HTTPException(404)
    content = (files("api") / "static" / "dashboard" / name).read_bytes()
    headers = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}
    return Response(content, media_type=ASSETS[name], headers=headers)
