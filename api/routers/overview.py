"""How an environment stands as a whole."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from fastapi import APIRouter

from api.dependencies import Caller, Deps
from api.schemas.overview import FailedSyncView, HourView, OverviewView
from api.upcoming import upcoming_runs

__all__ = ["router"]

_FAILURES = 20
_HOURS = 24

router = APIRouter(tags=["runs"])


@router.get("/overview")
async def get_overview(deps: Deps, caller: Caller) -> OverviewView:
    """Return how the environment stands: failures first, what ran lately, what runs next."""
    store = deps.database.overview
    totals, syncs, failures, hours, upcoming = await asyncio.gather(
        store.totals(caller.id),
        store.last_runs(caller.id),
        store.failed(caller.id, limit=_FAILURES),
        store.hours(caller.id, hours=_HOURS),
        upcoming_runs(deps, caller),
    )
    return OverviewView(
        environment=caller.name,
        **asdict(totals),
        syncs=syncs,
        failures=[FailedSyncView(**asdict(failure)) for failure in failures],
        hours=[HourView(**asdict(hour)) for hour in hours],
        upcoming=upcoming,
    )
