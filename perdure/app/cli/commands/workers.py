"""`perdure workers`: which build of the worker is given work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from perdure.app.cli.commands.processes import prepare
from perdure.app.cli.errors import CliError
from perdure.app.cli.options import OPERATE, AsJson

if TYPE_CHECKING:
    from config.settings import Settings
    from perdure.temporal.worker_builds import WorkerBuilds

__all__ = ["app"]

app = App(
    name="workers",
    group=OPERATE,
    help="Builds of the worker, for upgrades; set up by PERDURE_* and TEMPORAL_* variables.",
)


@app.command(name="list")
async def list_(*, as_json: AsJson = False) -> None:
    """Show the builds that have asked for work, and which of them is given it.

    Args:
        as_json: Print JSON.
    """
    from perdure.app.cli import render

    answer = await (await _builds(prepare())).list()
    (render.plain_builds if as_json else render.builds)(answer)


@app.command
async def promote(
    build: str | None = None,
    /,
    *,
    percent: Annotated[float, Parameter(show_default=False)] = 100,
) -> None:
    """Give work to a build of the worker: new runs, and those under way at their next step.

    Promoting the build before takes an upgrade back.

    Args:
        build: As `perdure workers list` has it; this version if none is named.
        percent: Give it only this share of the runs for now; 0 takes the share back.
    """
    from perdure.app.cli import render

    settings = prepare()
    builds = await _builds(settings)
    name = build or settings.worker_build
    if not 0 <= percent <= 100:
        msg = "--percent is from 0 to 100"
        raise CliError(msg, code="invalid_share")
    if percent == 100:
        await builds.promote(name)
        render.say(f"{name} is given all work.")
    else:
        await builds.ramp(name, percent)
        render.say(f"{name} is given {percent:g} % of the work.")


async def _builds(settings: Settings) -> WorkerBuilds:
    from temporalio.converter import DataConverter

    from perdure.app.container import temporal_client
    from perdure.temporal.plugin import PerdurePlugin
    from perdure.temporal.worker_builds import WorkerBuilds

    if settings.worker_deployment is None:
        msg = "PERDURE_WORKER_DEPLOYMENT is not set; without it any worker is given work."
        raise CliError(msg, code="workers_not_versioned")
    # Nothing with a payload is sent.
    client = await temporal_client(settings, PerdurePlugin(DataConverter.default))
    return WorkerBuilds(client, settings.worker_deployment)
