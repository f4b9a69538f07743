"""The codec endpoint of the Temporal UI: it shows encrypted payloads to whoever holds a key.

https://docs.temporal.io/codec-server describes the protocol: `Payloads` of protobuf, as JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Body, Request, Response
from google.protobuf.json_format import MessageToJson, ParseDict, ParseError
from starlette.responses import HTMLResponse, RedirectResponse
from temporalio.api.common.v1 import Payloads

from api.codec_session import COOKIE, SESSION_SECONDS, open_session
from api.dependencies import Deps, Keys
from perdure.errors import InvalidInputError, PerdureError
from perdure.temporal.codec import EncryptionCodec
from perdure.temporal.decoding import readable

__all__ = ["router"]

_SCOPE = "account:payloads:decode"
_PAGE = Path(__file__).parent.parent / "static" / "codec.html"
_PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_NOTES = {
    "": "",
    "open": "This browser may decrypt payloads for the next 12 hours.",
    "closed": "This browser may not decrypt payloads any more.",
    "refused": f"This is no key of this server with the scope {_SCOPE}.",
}

router = APIRouter(tags=["codec"])


@router.post("/codec/{session}/decode", include_in_schema=False)
@router.post(
    "/codec/decode",
    response_class=Response,
    responses={200: {"description": "In their order.", "content": {"application/json": {}}}},
)
async def decode_payloads(deps: Deps, body: Annotated[dict[str, Any], Body()]) -> Response:
    """Decrypt payloads, and fetch those that are kept outside of histories."""
    try:
        given = ParseDict(body, Payloads())
    except ParseError as error:
        msg = "The body is no `Payloads` message of Temporal."
        raise InvalidInputError(msg) from error
    clear = await readable(
        given.payloads,
        EncryptionCodec(deps.keyring),
        deps.database.blobs,
        deps.settings.payloads_days,
    )
    answer = MessageToJson(Payloads(payloads=clear), indent=None)
    return Response(answer, media_type="application/json", headers={"cache-control": "no-store"})


@router.get("/codec", include_in_schema=False)
async def get_session_page(said: str = "") -> HTMLResponse:
    """Return the page that takes a key."""
    page = _PAGE.read_text("utf-8").replace("{{note}}", _NOTES.get(said, ""))
    return HTMLResponse(page, headers=_PAGE_HEADERS)


@router.post("/codec/session", include_in_schema=False)
async def begin_session(request: Request, deps: Deps, keys: Keys) -> RedirectResponse:
    """Begin a session with the key of a form; without one end it."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    key = form.get("key", [""])[0].strip()
    if not key:
        answer = RedirectResponse("/codec?said=closed", 303)
        answer.delete_cookie(COOKIE, path="/codec")
        return answer
    try:
        access, _ = await keys.open(key)
        access.require(_SCOPE)
    except PerdureError:
        return RedirectResponse("/codec?said=refused", 303)
    answer = RedirectResponse("/codec?said=open", 303)
    answer.set_cookie(
        COOKIE,
        open_session(deps.keyring, key),
        max_age=SESSION_SECONDS,
        path="/codec",
        secure=_is_https(request, deps.settings.server_url),
        httponly=True,
        samesite="strict",
    )
    return answer


def _is_https(request: Request, server_url: str | None) -> bool:
    return request.url.scheme == "https" or (server_url or "").startswith("https:")
