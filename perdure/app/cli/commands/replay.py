"""`perdure replay`: a run's history once more, on this machine."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from perdure.app.cli.errors import ExitCode
from perdure.app.cli.options import DEFAULT_SERVER, AsJson, ServerOptions
from perdure.app.cli.session import api

__all__ = ["replay"]


async def replay(
    run: str,
    /,
    *,
    local: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    stop: Annotated[bool, Parameter(name=["--debugger"], negative="", show_default=False)] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> int:
    """Replay a run on this machine with the answers it was given then, and say where it failed.

    Nothing is asked of the external API, and nothing is written. Credentials are masked in what
    the script sees.

    Args:
        run: Id of the run, the same as in the Temporal UI.
        local: Replay it with the script as it is in this folder: says whether a mended script
            fits what the run did before it failed, so that the run can be retried with it, and
            what it does then.
        stop: Stop in pdb: where the run failed, or with --local at each breakpoint() of the script.
        as_json: Print JSON.
        server: Server and key, and the project folder.
    """
    from config.compile import compile_project
    from perdure.app.cli import render
    from perdure.app.replay import replay as replay_history
    from perdure.app.replay import script_traceback
    from perdure.scripts.bundle import project_files

    project = None
    if local:
        project = compile_project(project_files(server.project)).project
    async with api(server) as client:
        document = await client.get_run_history(run)
    found = await replay_history(document, local=project, debug=stop)
    if as_json:
        render.print_json(render.plain_replay(document, found))
    else:
        render.replay(document, found, is_local=local)
    if stop and found.exception is not None:
        import pdb

        pdb.post_mortem(script_traceback(found.exception))
    failed_again = local and found.error is not None
    return ExitCode.FAILED if found.mismatch is not None or failed_again else ExitCode.OK
