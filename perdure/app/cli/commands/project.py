"""`perdure init` and `perdure deploy`: a project folder, from the first file to production."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perdure.app.cli.errors import ExitCode, UsageError, failing_with
from perdure.app.cli.options import (
    DEFAULT_SERVER,
    AllowDestructive,
    AsJson,
    DryRun,
    ServerOptions,
)
from perdure.app.cli.session import api

__all__ = ["deploy", "init"]


def init(folder: Path = Path(), /) -> int:
    """Write a project to start from: one integration with a sync and an action that work.

    Files that exist are left as they are.

    Args:
        folder: Where; made if it does not exist.
    """
    from perdure.app.cli import render
    from perdure.app.cli.starter import write_project

    written, kept = write_project(folder)
    for path in written:
        render.say(f"  wrote  {path}")
    for path in kept:
        render.say(f"  kept   {path}")
    if written:
        render.say(f"Next: `perdure dev --project {folder}`; further steps are in nango.yaml.")
    else:
        render.say("Everything was there already; nothing was written.")
    return ExitCode.OK


async def deploy(
    environment: str = "dev",
    /,
    *,
    integration: Annotated[str | None, Parameter(name=["--integration", "-i"])] = None,
    sync: Annotated[str | None, Parameter(name=["--sync", "-s"])] = None,
    action: Annotated[str | None, Parameter(name=["--action", "-a"])] = None,
    allow_destructive: AllowDestructive = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Deploy a project: nango.yaml and its scripts become what new runs execute.

    It shows first what will change, and asks before something is removed; where nobody can be
    asked, --allow-destructive has to allow it. Runs under way go on with the version they
    started with.

    Args:
        environment: Its key is `NANGO_SECRET_KEY_<ENVIRONMENT>`.
        integration: Deploy only this integration; all others stay as they are.
        sync: Deploy only this sync; nothing is removed.
        action: Deploy only this action; nothing is removed.
        allow_destructive: Do not ask before scripts are removed, records erased, or scripts
            outside of the part changed.
        dry_run: Only show what would change.
        as_json: Print JSON: the answer, or the plan if nothing is deployed.
        server: Server and key, and the project folder.
    """
    from perdure.app.cli.deploying import carry_out
    from perdure.scripts.bundle import project_files

    if sync is not None and action is not None:
        msg = "--sync and --action do not go together"
        raise UsageError(msg, hint="deploy one after the other, or the whole --integration")
    target = {"integration": integration, "sync": sync, "action": action}
    target = {name: value for name, value in target.items() if value is not None}
    with failing_with(ExitCode.DEPLOY):
        files = project_files(server.project)
        async with api(server, environment) as client:
            await carry_out(
                client,
                {"files": files, "target": target or None},
                allow_destructive=allow_destructive,
                dry_run=dry_run,
                as_json=as_json,
            )
