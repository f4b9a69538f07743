"""Whether the process can do its work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

import structlog
from fastapi import APIRouter, Response
from temporalio.service import RPCError

from api.dependencies import Deps
from api.schemas.health import Health
from perdure._version import __version__
from perdure.errors import UnavailableError

__all__ = ["router"]

_PATIENCE = timedelta(seconds=2)

router = APIRouter(tags=["health"])

log = structlog.get_logger(__name__)


@router.get("/health", openapi_extra={"security": []}, responses={503: {"model": Health}})
async def get_health(deps: Deps, response: Response) -> Health:
    """Say which of the servers we need answer; 503 without the database."""
    database, temporal = await asyncio.gather(
        _answers(deps.database.ping()),
        _answers(deps.temporal.service_client.check_health(timeout=_PATIENCE)),
    )
    if not database:
        response.status_code = 503
    return Health(
        status="ok" if database and temporal else "degraded",
        version=__version__,
        database="ok" if database else "unavailable",
        temporal="ok" if temporal else "unavailable",
    )


@router.get("/ready", openapi_extra={"security": []}, responses={503: {"model": Health}})
async def get_readiness(deps: Deps, response: Response) -> Health:
    """Say whether requests may be sent here: 503 unless the database and Temporal answer."""
    health = await get_health(deps, response)
    if health.status != "ok":
        response.status_code = 503
    return health


async def _answers(question: Awaitable[object]) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            await question
    except (UnavailableError, RPCError, RuntimeError, TimeoutError) as error:
        log.debug("health_question_unanswered", error=type(error).__name__)
        return False
    return True
