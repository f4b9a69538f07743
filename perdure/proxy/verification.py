"""Whether credentials are good, by the request that the provider's entry names for it.

Only a clear refusal counts against credentials: a provider that is down says nothing about them,
nor does a request that their scopes do not cover while another one succeeds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from perdure.connections.interpolation import (
    TemplateVariables,
    interpolate,
    interpolate_json,
    interpolate_url,
)
from perdure.errors import InvalidInputError, PerdureError, UpstreamError
from perdure.providers.proxy import Verification
from perdure.proxy.json_path import lookup
from perdure.proxy.requests import HttpRequest, HttpResponse

__all__ = ["Send", "Verdict", "VerdictKind", "verify"]

Send: TypeAlias = Callable[[HttpRequest], Awaitable[HttpResponse]]
"""Makes a request with the credentials in question, as `ProxyClient.send` does."""

_REFUSED = frozenset({400, 401, 403})
_PATIENCE_S = 15.0


class VerdictKind(StrEnum):
    """What the provider made of credentials."""

    GOOD = "good"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """It did not say, or the entry names no request."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of it.

    Attributes:
        kind: What the provider made of the credentials.
        error: What it answered where they are not known to be good, None where it was not asked.
    """

    kind: VerdictKind
    error: PerdureError | None = None


async def verify(
    verification: Verification | None,
    variables: TemplateVariables,
    send: Send,
    *,
    timeout_s: float = _PATIENCE_S,
) -> Verdict:
    """Ask a provider whether credentials are good.

    Args:
        verification: `proxy.verification` of its entry; its texts are templates.
        variables: What they may name.
        send: Makes a request with the credentials.
        timeout_s: Seconds for each request.
    """
    if verification is None:
        return Verdict(VerdictKind.UNKNOWN)
    refusal: UpstreamError | None = None
    doubt: PerdureError | None = None
    for endpoint in verification.endpoints:
        try:
            answer = await send(_request(verification, endpoint, variables, timeout_s))
        except UpstreamError as error:
            if error.status in _REFUSED:
                refusal = refusal or error
            else:
                doubt = doubt or error
        except InvalidInputError as error:
            doubt = doubt or error
        else:
            path = verification.ok_path
            if path is None or lookup(answer.data, path) is True:
                return Verdict(VerdictKind.GOOD)
            refusal = refusal or _refusal(endpoint, answer)
    if refusal is not None and doubt is None:
        return Verdict(VerdictKind.REFUSED, refusal)
    return Verdict(VerdictKind.UNKNOWN, doubt)


def _request(
    verification: Verification, endpoint: str, variables: TemplateVariables, timeout_s: float
) -> HttpRequest:
    path = interpolate(endpoint, variables)
    override = verification.base_url_override
    base_url = None if override is None else interpolate_url(override, variables)
    if path is None or (override is not None and base_url is None):
        raise InvalidInputError(
            "The request that checks credentials needs what the connection does not have: "
            f"{endpoint!r}.",
            code="missing_connection_config",
        )
    headers = {name: interpolate(text, variables) for name, text in verification.headers.items()}
    return HttpRequest.model_validate(
        {
            "method": verification.method,
            "endpoint": path,
            "headers": headers,
            "data": interpolate_json(verification.data, variables),
            "base_url_override": base_url,
            "retries": 0,
            "timeout_s": timeout_s,
        }
    )


def _refusal(endpoint: str, answer: HttpResponse) -> UpstreamError:
    reason = answer.data.get("error") if isinstance(answer.data, dict) else None
    said = f": {reason}" if isinstance(reason, str) else ""
    return UpstreamError(
        f"The provider refused the credentials at {endpoint}{said[:200]}.", status=answer.status
    )
