"""Deployments: what each changed, and putting one back."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.calls import RefusedError, path_of
from api.dashboard.rendering import Page, page_url
from api.dashboard.visit import Visitor

__all__ = ["router"]

router = APIRouter(prefix="/deployments")


@router.get("")
async def show_deployments(visit: Visitor) -> Response:
    """Show deployments, newest first."""

    async def build() -> Page:
        found = await visit.api.get("/deployments")
        deployments = found["deployments"]
        is_busy = bool(deployments) and deployments[0]["reconciled_at"] is None
        return Page(
            "deployments.html", "Deployments", {"deployments": deployments}, is_busy=is_busy
        )

    return await visit.show(build)


@router.get("/{number}")
async def show_deployment(visit: Visitor, number: str) -> Response:
    """Show what a deployment changed, and what it deployed."""

    async def build() -> Page:
        path = path_of("deployments", number)
        deployment, changes = await asyncio.gather(
            visit.api.get(path), visit.api.get(f"{path}/changes")
        )
        values = {"deployment": deployment, "changes": changes}
        return Page("deployment.html", f"Deployment {number}", values)

    return await visit.show(build)


@router.get("/{number}/roll-back")
async def show_plan(visit: Visitor, number: str) -> Response:
    """Show what putting a deployment back would change."""

    async def build() -> Page:
        deployment = await visit.api.get(path_of("deployments", number))
        plan = await visit.api.call(
            "POST", "/deployments/plan", body={"bundle": deployment["bundle"]}
        )
        return Page("roll_back.html", "Roll back", {"deployment": deployment, "plan": plan})

    return await visit.show(build)


@router.post("/{number}/roll-back")
async def roll_back(visit: Visitor, number: str) -> Response:
    """Put a deployment back."""
    form = await visit.form()
    try:
        deployment = await visit.api.get(path_of("deployments", number))
        made = await visit.api.call(
            "POST",
            "/deployments",
            body={
                "bundle": deployment["bundle"],
                "allow_destructive": form.get("allow_destructive") == "yes",
                "base": int(form["base"]) if form.get("base", "").isdecimal() else None,
            },
        )
    except RefusedError as refusal:
        return visit.refused(refusal, page_url("deployments", number, "roll-back"))
    done = f"Deployment {number} is put back as {made['deployment_id'] or 'a new one'}."
    return visit.go(page_url("deployments"), ("done", done))
