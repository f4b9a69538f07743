"""`perdure dev`: the whole stack on this machine, with the project deployed at each change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from perdure.app.cli.options import DATA_DIR

if TYPE_CHECKING:
    from perdure.app.cli.client import ApiClient
    from perdure.app.dev import DeployOutcome, DevFile

__all__ = ["deploy_project", "dev"]

_PATIENCE = 30
"""Seconds to wait for another deploy."""


async def dev(
    *,
    project: Path | None = None,
    data_dir: Path = DATA_DIR,
    port: int = 3003,
    temporal_port: int = 7233,
    ui_port: int = 8233,
    watch: Annotated[bool, Parameter(negative="--no-watch", show_default=False)] = True,
) -> int:
    """Run API, worker, Temporal and Postgres on this machine until Ctrl-C.

    Everything that matters is in the data folder: the next start takes it up again.

    Args:
        project: Project folder to deploy, at the start and whenever it changes.
        data_dir: Folder of all state.
        port: Port of the API; like the other two 0 for any free one.
        temporal_port: Port of Temporal.
        ui_port: Port of Temporal's web interface.
        watch: Deploy the project again when it changes.
    """
    from perdure.app.dev import DevOptions, run_dev

    options = DevOptions(
        data_dir=data_dir,
        project=project,
        port=port,
        temporal_port=temporal_port,
        ui_port=ui_port,
        watch=watch,
    )
    return await run_dev(options, deploy_project)


async def deploy_project(project: Path, stack: DevFile) -> DeployOutcome:
    """Deploy a project to the running stack; see `perdure.app.dev.DeployProject`.

    What is removed from the project is removed from the stack without asking, and named. Another
    deploy that is under way, such as one that a former start of the stack left, is waited for.

    Raises:
        PerdureError: The project cannot be read, or the API does not answer.
    """
    from perdure.app.cli.client import open_client
    from perdure.app.cli.errors import ApiError
    from perdure.app.cli.render import plain_deployment
    from perdure.app.cli.target import Target
    from perdure.app.dev import DeployOutcome
    from perdure.scripts.bundle import project_files

    files = project_files(project)
    target = Target(stack.api_url, stack.secret_key.get_secret_value())
    try:
        async with open_client(target) as client:
            answer = await _deploy(client, files)
    except ApiError as error:
        first_line = error.message.partition("\n")[0]
        return DeployOutcome(first_line, error.details)
    return DeployOutcome(*plain_deployment(answer))


async def _deploy(client: ApiClient, files: dict[str, str]) -> dict[str, Any]:
    from perdure.app.cli.errors import ApiError

    for _ in range(_PATIENCE):
        try:
            return await client.deploy({"files": files}, allow_destructive=True)
        except ApiError as error:
            if error.code != "concurrent_deployment":
                raise
        await asyncio.sleep(1)
    return await client.deploy({"files": files}, allow_destructive=True)
