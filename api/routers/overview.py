"""How an environment stands as a whole."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from fastapi import APIRouter

from api.dependencies import Caller, Deps
from api.schemas.overview import FailedSyncView, HourView, OverviewView
from api.upcoming import MOST_SCHEDULES, upcoming_runs

__all__ = ["router"]

_FAILURES = 20
_HOURS = 24

router = APIRouter(tags=["runs"])


@router.get("/overview")
async def get_overview(deps: Deps, caller: Caller) -> OverviewView:
    """Return how the environment stands: failures first, what ran lately, what runs next."""
    store = deps.database.overview
    totals, syncs, hours = await asyncio.gather(
        store.totals(caller.id),
        store.syncs(caller.id, failures=_FAILURES),
        store.hours(caller.id, hours=_HOURS),
    )
    upcoming = None
    if sum(syncs.by_status.values()) <= MOST_SCHEDULES:
        upcoming = await upcoming_runs(deps, caller)
    return OverviewView(
        environment=caller.name,
        **asdict(totals),
        syncs=dict(syncs.by_status),
        failures=[FailedSyncView(**asdict(failure)) for failure in syncs.failed],
        hours=[HourView(**asdict(hour)) for hour in hours],
        upcoming=upcoming,
    )
