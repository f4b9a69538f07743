"""Asks each request for the scope of its endpoint, and notes administrative acts before they begin.

It runs as a dependency of every endpoint, once it is known which one a request is for; see
`api.records_door` for requests that come to theirs by another way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request

from api.access import Access
from api.dependencies import Dependencies, Deps
from api.scopes import EVERYTHING, RULES, Rule
from perdure.errors import UnauthorizedError
from perdure.observability.metrics import API_REFUSALS

__all__ = ["check_permission", "permit", "rule_of"]

_EVERYTHING = Rule((EVERYTHING,))
_LONGEST_SUBJECT = 255


def rule_of(method: str, path: str) -> Rule:
    """Return what an endpoint asks for; one without a rule is closed to keys with scopes."""
    return RULES.get((method, path)) or RULES.get(("*", path)) or _EVERYTHING


async def check_permission(request: Request, deps: Deps) -> None:
    """Let a request pass to its endpoint, or not.

    Raises:
        ApiError: 403 `forbidden`.
        UnauthorizedError: `missing_auth_header`, the endpoint is not open, though its path is.
    """
    await permit(request, deps, request.scope["route"].path)


async def permit(request: Request, deps: Dependencies, path: str) -> None:
    """Let a request pass to the endpoint at this path, or not.

    Raises:
        ApiError: As `check_permission`.
        UnauthorizedError: The same.
    """
    request.state.route = path
    rule = rule_of(request.method, path)
    if rule.scopes is None:
        return
    access: Access | None = getattr(request.state, "access", None)
    if access is None:
        msg = "Send a key of the environment as `Authorization: Bearer <key>`."
        raise UnauthorizedError(msg, code="missing_auth_header")
    if rule.act is not None:
        request.state.audit_event = await deps.database.audit.begin(
            access.environment_id,
            access.environment,
            key_id=access.key_id,
            key_name=access.key_name,
            act=rule.act,
            subject=await _subject(request, rule),
            request_id=request.state.request_id,
        )
    if rule.scopes and not access.allows(*rule.scopes):
        API_REFUSALS.add(reason="scope")
        access.require(*rule.scopes)


async def _subject(request: Request, rule: Rule) -> str:
    """Return the values of the parameters that say what an act is done to."""
    places: list[Mapping[str, Any]] = [request.path_params, request.query_params]
    if not all(name in request.path_params for name in rule.subject):
        places.append(await _body(request))
    values = (_first(name, places) for name in rule.subject)
    return "/".join(value for value in values if value)[:_LONGEST_SUBJECT]


def _first(name: str, places: list[Mapping[str, Any]]) -> str:
    found = next((place[name] for place in places if name in place), "")
    return str(found) if isinstance(found, str | int) else ""


async def _body(request: Request) -> Mapping[str, Any]:
    # What the endpoint reads is what was read before; anything unreadable is its to refuse.
    try:
        body = json.loads(await request.body())
    except ValueError:
        return {}
    return body if isinstance(body, Mapping) else {}
