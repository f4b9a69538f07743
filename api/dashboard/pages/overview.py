"""The first page: what failed, what runs, what comes next."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.charts import Series, stacked_bars
from api.dashboard.rendering import Page
from api.dashboard.visit import Visitor

__all__ = ["router"]

_KINDS = ("added", "updated", "deleted")

router = APIRouter()


@router.get("/")
async def show_overview(visit: Visitor) -> Response:
    """Show how the environment stands."""

    async def build() -> Page:
        overview = await visit.api.get("/overview")
        running = await visit.api.get("/runs", {"status": "running", "limit": 10})
        hours = overview["hours"]
        changed = sum(hour["added"] + hour["updated"] + hour["deleted"] for hour in hours)
        chart = stacked_bars(
            [hour["at"] for hour in hours],
            [
                Series(kind, [hour[kind] for hour in hours])
                for kind in ("added", "updated", "deleted")
            ],
        )
        return Page(
            "overview.html",
            overview["environment"],
            {"overview": overview, "running": running["runs"], "changed": changed, "chart": chart},
            is_busy=bool(running["runs"]),
        )

    return await visit.show(build)
