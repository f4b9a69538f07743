"""`perdure dev`: the whole stack on one machine, from one command.

Guarantees: when `run_dev` returns, however it returns, none of its processes is left; when its
process is killed they end too; everything that matters is in the data folder and is taken up again
by the next run.
"""

from __future__ import annotations

import sys

from perdure.app.dev.contract import DeployOutcome, DeployProject, DevOptions, Programs
from perdure.app.dev.folder import DevFile, read_dev_file

__all__ = [
    "DeployOutcome",
    "DeployProject",
    "DevFile",
    "DevOptions",
    "Programs",
    "read_dev_file",
    "run_dev",
]


async def run_dev(
    options: DevOptions, deploy: DeployProject, *, programs: Programs | None = None
) -> int:
    """Run the stack until SIGINT, SIGTERM or SIGHUP; must be called in the main thread.

    Args:
        options: What to run, and where.
        deploy: Deploys the project.
        programs: Other commands for our own processes.

    Returns:
        The exit code: 0 after a signal, 1 when the stack could not be brought up (a line on
        standard error says why).
    """
    if sys.platform == "win32":
        sys.stderr.write("perdure dev: Linux or macOS is needed; on Windows use WSL\n")
        return 1
    from perdure.app.dev.run import run

    return await run(options, deploy, programs or Programs())
