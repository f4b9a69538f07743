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
        allow_destructive: Whether scripts may be removed, and records erased, without asking.
        dry_run: Only show.
        as_json: Print JSON, and ask nothing.

    Raises:
        CliError: `destructive_changes`, nobody agreed to them.
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
    destructive = bool(plan["destructive"])
    if destructive and not allow_destructive and (as_json or not _agrees()):
        if as_json:
            render.print_json(plan)
        msg = "Nothing was deployed: the plan removes scripts or erases records"
        code = "destructive_changes"
        raise CliError(msg, code=code, hint=hint_for(code))
    answer = await client.deploy(wanted, allow_destructive=destructive, base=plan["base"])
    if as_json:
        render.print_json(answer)
    else:
        render.deployed(answer, time.monotonic() - began)


def _agrees() -> bool:
    """Ask whoever sits at the terminal; nobody there agrees to nothing."""
    if not sys.stdin.isatty():
        return False
    print("Deploy this, with what cannot be taken back? Only yes counts: ", end="", flush=True)
    return sys.stdin.readline().strip().lower() == "yes"
