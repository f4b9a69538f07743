"""From a plan to a deploy: shown, agreed to, carried out. The same for a project and a rollback."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from perdure.app.cli.errors import CliError, hint_for

if TYPE_CHECKING:
    from perdure.app.cli.client import ApiClient

__all__ = ["carry_out"]

_REFUSALS = {
    "destructive_changes": "Nothing was deployed: the plan removes scripts or erases records",
    "target_touches_others": "Nothing was deployed: scripts outside of what is deployed would "
    "change, too",
}


async def carry_out(
    client: ApiClient,
    wanted: Mapping[str, Any],
    *,
    allow_destructive: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Show what a deploy changes, and deploy.

    What was agreed to is what is deployed: if something else is deployed meanwhile, nothing is.

    Args:
        client: The server.
        wanted: As `ApiClient.plan` takes it.
        allow_destructive: Whether scripts may be removed, records erased, and scripts outside
            of the target changed, without asking.
        dry_run: Only show.
        as_json: Print JSON, and ask nothing.

    Raises:
        CliError: `destructive_changes` or `target_touches_others`, nobody agreed to them.
        ApiError: The server refuses it.
    """
    from perdure.app.cli import render

    began = time.monotonic()
    plan = await client.plan(wanted)
    if not as_json:
        render.plan(plan)
    if dry_run:
        if as_json:
            render.print_json(plan)
        else:
            render.warnings(plan)
        return
    needs_consent = bool(plan["destructive"] or plan["touches_others"])
    asks = needs_consent and not allow_destructive
    if asks and not as_json:
        # Whoever is asked should know what was noticed.
        render.warnings(plan)
    if asks and (as_json or not _agrees()):
        if as_json:
            render.print_json(plan)
        code = "destructive_changes" if plan["destructive"] else "target_touches_others"
        raise CliError(_REFUSALS[code], code=code, hint=hint_for(code))
    answer = await client.deploy(wanted, allow_destructive=needs_consent, base=plan["base"])
    if as_json:
        render.print_json(answer)
    else:
        said = plan["warnings"] if asks else []
        news = [text for text in answer["warnings"] if text not in said]
        render.deployed({**answer, "warnings": news}, time.monotonic() - began)


def _agrees() -> bool:
    """Ask whoever sits at the terminal; nobody there agrees to nothing."""
    if not sys.stdin.isatty():
        return False
    print("Deploy this, with all that the plan names? Only yes counts: ", end="", flush=True)
    return sys.stdin.readline().strip().lower() == "yes"
