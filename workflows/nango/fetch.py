"""Requests to anywhere, without the connection's credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.fetch import FetchActivities, FetchInput
    from perdure.nango import HelperError, Response
    from perdure.proxy.plain import FetchRequest
    from perdure.proxy.redaction import is_sensitive_name
    from perdure.proxy.requests import IDEMPOTENT, READS
    from perdure.temporal import policies
    from workflows.helper_errors import raise_fetch_error
    from workflows.nango.steps import HelperSteps
    from workflows.pages import as_response

__all__ = ["FetchSteps"]


class FetchSteps(HelperSteps):
    """`uncontrolled_fetch`."""

    async def uncontrolled_fetch(
        self,
        *,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Response:
        """See base class."""
        request = _as_fetch_request(url, method, headers, body)
        sealed = self.secrets.within(request) or _looks_secret(request)
        seconds = request.timeout_s
        try:
            answer = await self._step(
                FetchActivities.uncontrolled_fetch,
                FetchInput(
                    request=request, sealed=sealed, kept_for=self._context.requests_kept_for
                ),
                f"{request.method} {_shown_url(url)}",
                policies.http_until(self._limit, seconds)
                if request.method in IDEMPOTENT
                else policies.http_once(seconds),
                observes=request.method not in READS,
            )
        except ActivityError as error:
            raise_fetch_error(error)
        return as_response(answer.response)


def _as_fetch_request(
    url: str, method: str, headers: Mapping[str, str] | None, body: Any
) -> FetchRequest:
    try:
        return FetchRequest.model_validate(
            {"url": url, "method": method, "headers": dict(headers or {}), "body": body}
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        msg = f"uncontrolled_fetch, {where}: {first['msg']}"
        raise HelperError(msg, code="invalid_options") from error


def _looks_secret(request: FetchRequest) -> bool:
    """Say whether a header, a parameter or user info is secret by its name or place."""
    try:
        parts = urlsplit(request.url)
    except ValueError:
        return True
    names = [*request.headers, *(name for name, _ in parse_qsl(parts.query))]
    return "@" in parts.netloc or any(map(is_sensitive_name, names))


def _shown_url(url: str) -> str:
    """Return scheme, host and path; what else a URL holds may be secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a malformed URL"
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
