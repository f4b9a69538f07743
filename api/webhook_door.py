"""The short way in for what providers send, which comes in bursts.

The layers that other requests pass cost several times what it takes to store a webhook, and none
of them has anything to do with it: it has no key, its path has one form, its body is read as it
is. So it is handed to its endpoint from here. What goes wrong is answered as everywhere else.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.dependencies import Dependencies
from api.routers.incoming_webhooks import take_webhook
from api.webhook_waker import WebhookWaker

__all__ = ["WebhookDoor"]


class WebhookDoor:
    """Hands `POST /webhook/{environment}/{provider_config_key}` to its endpoint.

    Args:
        app: Serves everything else.
        dependencies: What the process is made of.
        waker: Has webhooks worked off.
    """

    def __init__(self, app: ASGIApp, dependencies: Dependencies, waker: WebhookWaker) -> None:
        self._app = app
        self._dependencies = dependencies
        self._waker = waker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        match scope["path"].split("/") if _is_post(scope) else ():
            case ("", "webhook", environment, integration) if environment and integration:
                answer = await take_webhook(
                    self._dependencies,
                    self._waker,
                    Request(scope, receive),
                    environment,
                    integration,
                )
                await answer(scope, receive, send)
            case _:
                await self._app(scope, receive, send)


def _is_post(scope: Scope) -> bool:
    return bool(scope["type"] == "http" and scope["method"] == "POST")
