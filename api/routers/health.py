"""Whether the process lives, and whether it can do its work.

Probes ask these without a key, so they tell nothing of what is inside, nor where the servers are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Literal, TypeVar

import structlog
from fastapi import APIRouter, Request, Response
from temporalio.service import RPCError

from api.dependencies import Deps
from api.schemas.health import Health, Liveness
from perdure._version import __version__
from perdure.errors import PerdureError

__all__ = ["router"]

T = TypeVar("T")

_PATIENCE = timedelta(seconds=2)
# Probes wait for a second by default, and Temporal does not decide whether a process is ready: one
# that is silent may not look like a process that is.
_LITTLE_PATIENCE = timedelta(seconds=0.5)

router = APIRouter(tags=["health"])

log = structlog.get_logger(__name__)


@router.get("/health/live", openapi_extra={"security": []})
async def get_liveness() -> Liveness:
    """Say that the process answers, whatever else does not."""
    return Liveness(version=__version__)


@router.get("/health", openapi_extra={"security": []}, responses={503: {"model": Health}})
async def get_health(deps: Deps, request: Request, response: Response) -> Health:
    """Say which of the servers we need answer; 503 without the database."""
    health = await _look(deps, request, _PATIENCE)
    if health.database != "ok":
        response.status_code = 503
    return health


@router.get("/health/ready", openapi_extra={"security": []}, responses={503: {"model": Health}})
async def get_readiness(deps: Deps, request: Request, response: Response) -> Health:
    """Say whether requests may be sent here.

    503 without the database, where it lacks revisions, and once the process was told to stop.
    Without Temporal it is 200, `degraded`: all that is there can be read, and what needs Temporal
    is answered 503 `temporal_unavailable` by every API process alike.
    """
    health = await _look(deps, request, _LITTLE_PATIENCE)
    if health.status == "stopping" or health.database != "ok":
        response.status_code = 503
    return health


@router.get("/ready", openapi_extra={"security": []}, responses={503: {"model": Health}})
async def get_readiness_of_all(deps: Deps, request: Request, response: Response) -> Health:
    """Say whether everything works: 503 unless the database and Temporal answer."""
    health = await _look(deps, request, _PATIENCE)
    if health.status != "ok":
        response.status_code = 503
    return health


async def _look(deps: Deps, request: Request, temporal_patience: timedelta) -> Health:
    database, temporal = await asyncio.gather(_database(deps), _temporal(deps, temporal_patience))
    status: Literal["ok", "degraded", "stopping"] = "ok"
    if request.app.state.draining:
        status = "stopping"
    elif (database, temporal) != ("ok", "ok"):
        status = "degraded"
    return Health(status=status, version=__version__, database=database, temporal=temporal)


async def _database(deps: Deps) -> Literal["ok", "behind", "unavailable"]:
    missing = await _answered(deps.database.missing_revisions(), _PATIENCE)
    if missing is None:
        return "unavailable"
    return "behind" if missing else "ok"


async def _temporal(deps: Deps, patience: timedelta) -> Literal["ok", "unavailable"]:
    asked = deps.temporal.service_client.check_health(timeout=patience)
    return "ok" if await _answered(asked, patience) is not None else "unavailable"


async def _answered(question: Awaitable[T], patience: timedelta) -> T | None:
    """Return the answer, None where there is none in time."""
    try:
        async with asyncio.timeout(patience.total_seconds()):
            return await question
    except (PerdureError, RPCError, RuntimeError, TimeoutError) as error:
        log.debug("health_question_unanswered", error=type(error).__name__)
        return None
