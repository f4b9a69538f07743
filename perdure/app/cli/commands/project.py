"""`perdure init` and `perdure deploy`: a project folder, from the first file to production."""

from __future__ import annotations

import time
from pathlib import Path

from perdure.app.cli.errors import ExitCode, failing_with
from perdure.app.cli.options import DEFAULT_SERVER, AsJson, ServerOptions
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
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Deploy a project: nango.yaml and its scripts become what new runs execute.

    Runs under way go on with the version they started with.

    Args:
        environment: Its key is NANGO_SECRET_KEY_<ENVIRONMENT>.
        as_json: Print JSON.
        server: Server and key, and the project folder.
    """
    from perdure.app.cli import render
    from perdure.scripts.bundle import project_files

    began = time.monotonic()
    with failing_with(ExitCode.DEPLOY):
        files = project_files(server.project)
        async with api(server, environment) as client:
            answer = await client.deploy(files)
    if as_json:
        render.print_json(answer)
    else:
        render.deployment(answer, time.monotonic() - began)
