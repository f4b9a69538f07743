"""Puts the API together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.routing import WebSocketRoute
from starlette.types import Lifespan

from api.access import Gate
from api.auth import Authenticate
from api.background import AppTasks
from api.codec_cors import CodecCors
from api.connect_results import AttemptResults, wait_for_result
from api.connection_workflows import go_on
from api.cors import OpenCors
from api.dashboard.app import create_dashboard
from api.dependencies import Dependencies
from api.errors import install_error_handlers
from api.head import AnswerHead
from api.mcp import McpEndpoint
from api.openapi import openapi_document, operation_id
from api.permission import check_permission
from api.rate_limit import RateLimit
from api.records_door import RecordsDoor
from api.requests import NO_TELEMETRY, LimitBody, ObserveRequest
from api.routers import (
    actions,
    api_keys,
    audit,
    codec,
    connect_forms,
    connect_page,
    connect_sessions,
    connection_metadata,
    connections,
    deployment_changes,
    deployments,
    dry_runs,
    encryption_keys,
    environment,
    environment_openapi,
    environments,
    functions,
    health,
    held_deletes,
    incoming_webhooks,
    integrations,
    logs,
    oauth,
    overview,
    providers,
    proxy,
    record_sets,
    record_stream,
    records,
    run_histories,
    run_retries,
    runs,
    scripts,
    sync_list,
    sync_variants,
    syncs,
    typescript,
    v1,
    webhooks,
)
from api.schemas.base import ErrorEnvelope
from api.slashes import IgnoreLastSlash
from api.webhook_door import WebhookDoor
from api.webhook_waker import WebhookWaker
from config.nango_schema import nango_schema_json
from perdure._version import __version__
from perdure.records.canonical import to_json

__all__ = ["api_document", "create_app"]

_MAX_BODY_BYTES = 75 * 1024 * 1024
_ROUTERS = (
    # What is asked most: routes are tried in this order, and the last ones cost a fraction of a ms.
    # Valid reads of records come by `api.records_door`.
    actions,
    records,
    proxy,
    v1,
    health,
    environment,
    environments,
    overview,
    api_keys,
    audit,
    encryption_keys,
    codec,
    integrations,
    functions,
    providers,
    # Before connections, whose names may hold slashes.
    connection_metadata,
    connections,
    record_sets,
    record_stream,
    sync_list,
    sync_variants,
    syncs,
    held_deletes,
    deployment_changes,
    deployments,
    typescript,
    dry_runs,
    run_histories,
    logs,
    scripts,
    run_retries,
    runs,
    incoming_webhooks,
    webhooks,
    connect_sessions,
    connect_forms,
    connect_page,
    oauth,
    environment_openapi,
)

# An action may take longer than a process has time to stop; its run goes on without us.
_SHUTDOWN_SECONDS = 5.0


def create_app(dependencies: Dependencies) -> FastAPI:
    """Return the API.

    Every path needs a key of an environment, those that do not exist too; for the few exceptions
    see `api.auth`, for what each key may do `api.scopes`.

    Args:
        dependencies: What the process is made of; whoever made it closes it.
    """
    background = AppTasks()
    gate = Gate(dependencies.database.api_keys)
    mcp = McpEndpoint(dependencies, background)
    waker = WebhookWaker(
        dependencies.database,
        dependencies.temporal,
        dependencies.settings.webhook_patience,
        background,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background.start(go_on(dependencies))
        yield
        await mcp.close()
        await background.close(_SHUTDOWN_SECONDS)

    app = _with_endpoints(
        lifespan,
        [
            Middleware(CodecCors, ui_url=dependencies.settings.temporal_ui_url),
            Middleware(OpenCors),
            Middleware(ObserveRequest),
            Middleware(IgnoreLastSlash),
            Middleware(WebhookDoor, dependencies=dependencies, waker=waker),
            Middleware(
                LimitBody,
                max_bytes=_MAX_BODY_BYTES,
                max_passing_bytes=dependencies.settings.proxy_max_body_mb * 1024 * 1024,
            ),
            Middleware(Authenticate, dependencies=dependencies, gate=gate),
            Middleware(AnswerHead),
            Middleware(RecordsDoor, dependencies=dependencies),
        ],
    )
    app.state.dependencies = dependencies
    app.state.background = background
    app.state.gate = gate
    app.state.waker = waker
    app.state.results = AttemptResults(
        dependencies.database.connect_sessions.take_results, background
    )
    most = dependencies.settings.requests_per_minute
    app.state.session_limit = None if most is None else RateLimit(most)
    # Set by whoever serves the app: first that it will stop, so that nobody sends requests here any
    # more, then that it does, so that answers without an end come to one.
    app.state.draining = False
    app.state.stopping = background.ending
    install_error_handlers(app)
    app.router.routes.append(WebSocketRoute("/", wait_for_result))
    app.mount("/dashboard", create_dashboard(app))
    for path in ("/", "/dashboard"):
        app.add_route(path, _to_dashboard, include_in_schema=False)
    app.add_route("/favicon.ico", _to_icon, include_in_schema=False)
    app.add_route("/mcp", mcp, include_in_schema=False)  # type: ignore[arg-type]  # an ASGI app

    @app.get("/openapi.json", include_in_schema=False)
    async def get_openapi_document(request: Request) -> Response:
        """Return the description of this API."""
        return Response(to_json(openapi_document(request.app)), media_type="application/json")

    @app.get("/nango.schema.json", include_in_schema=False)
    async def get_nango_schema() -> Response:
        """Return the schema by which editors check a `nango.yaml`; they have no key."""
        return Response(nango_schema_json(), media_type="application/schema+json")

    return app


def api_document() -> dict[str, Any]:
    """Return what `/openapi.json` of every server says: it follows from the endpoints alone."""
    return openapi_document(_with_endpoints())


def _with_endpoints(
    lifespan: Lifespan[FastAPI] | None = None, middleware: Sequence[Middleware] = ()
) -> FastAPI:
    app = FastAPI(
        title="Perdure",
        version=__version__,
        openapi_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
        generate_unique_id_function=operation_id,
        dependencies=[Depends(check_permission)],
        responses={"default": {"model": ErrorEnvelope, "description": "It failed."}},
        middleware=middleware,
    )
    for module in _ROUTERS:
        app.include_router(module.router)
    return app


async def _to_icon(_: Request) -> Response:
    return RedirectResponse("/dashboard/assets/icon.svg", 301)


async def _to_dashboard(_: Request) -> Response:
    return RedirectResponse("/dashboard/", 303)
