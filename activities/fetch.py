"""Requests of scripts to anywhere, without credentials."""

from __future__ import annotations

from temporalio import activity

from activities.exchanges import ExchangeLog
from perdure.proxy.plain import FetchRequest, PlainClient
from perdure.proxy.requests import HttpResponse
from perdure.temporal.payloads import Payload

__all__ = ["FetchActivities", "FetchAnswer", "FetchInput"]

_COOKIES = "set-cookie"


class FetchInput(Payload):
    """One request.

    Attributes:
        sealed: Whether it carries a secret.
        kept_for: As of `ProxyInput`.
    """

    request: FetchRequest
    sealed: bool = False
    kept_for: str | None = None

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


class FetchAnswer(Payload):
    """The answer; as secret as the request was, and where it opens a session."""

    response: HttpResponse
    sealed: bool = False

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed or _COOKIES in self.response.headers


class FetchActivities:
    """Steps that fetch. One call is one attempt; Temporal does the repeating.

    Args:
        client: Makes the requests.
        exchanges: Keeps those of dry runs.
    """

    def __init__(self, client: PlainClient, exchanges: ExchangeLog) -> None:
        self._client = client
        self._exchanges = exchanges

    @activity.defn
    async def uncontrolled_fetch(self, call: FetchInput) -> FetchAnswer:
        """Make one request.

        Raises:
            UpstreamError: There was no answer.
            InvalidInputError: The URL is not allowed, or the request cannot be written.
        """
        response = await self._client.fetch(call.request)
        await self._exchanges.keep_fetch(call.kept_for, call.request, response)
        return FetchAnswer(response=response, sealed=call.sealed)
