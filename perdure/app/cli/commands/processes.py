"""The processes of a cluster: `perdure api`, `perdure worker`, `perdure migrate`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from perdure.app.cli.errors import CliError
from perdure.app.memory import keep_what_is_freed, look_for_garbage_rarely

if TYPE_CHECKING:
    from config.settings import Settings

__all__ = ["api", "migrate", "prepare", "worker"]


def api() -> None:
    """Serve the HTTP API, set up by PERDURE_* and TEMPORAL_* variables."""
    settings = prepare()
    from perdure.app.server import run_api

    _run(run_api(settings))


def worker(
    *,
    promote: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    check: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> None:
    """Run syncs and actions, set up by PERDURE_* and TEMPORAL_* variables.

    Args:
        promote: With PERDURE_WORKER_DEPLOYMENT: make this build current, unless it was before.
        check: Only say whether the worker that touches PERDURE_READY_FILE is alive, for probes.
    """
    settings = prepare()
    if check:
        _check(settings)
        return
    _make_replays_alike()
    from perdure.app.worker import run_worker

    _run(run_worker(settings, promote=promote))


def _check(settings: Settings) -> None:
    from perdure.app.sign_of_life import is_alive

    file = settings.ready_file
    if file is None:
        msg = "PERDURE_READY_FILE is not set; the worker gives no sign of life."
        raise CliError(msg, code="invalid_settings")
    if not is_alive(file):
        msg = f"No worker has touched {file} in the last seconds."
        raise CliError(msg, code="worker_not_alive")


async def migrate() -> None:
    """Bring database and Temporal up to date; may be run again at any time.

    Applies missing revisions, gives the environment `dev` the key PERDURE_SECRET_KEY, and registers
    the search attributes of Temporal, for which it waits half a minute. Without them it fails.
    """
    settings = prepare()
    from perdure.app.cli import render
    from perdure.app.cli.migration import bring_up_to_date

    async for done in bring_up_to_date(settings):
        render.say(done)


def _make_replays_alike() -> None:
    """Start this process anew with fixed string hashes and UTC, if it has others.

    The order of a set of strings depends on their hashes, and naive times on the zone. A script
    that iterates over such a set must see the same order on the worker that goes on with it.
    """
    if sys.flags.hash_randomization == 0 and time.tzname == ("UTC", "UTC"):
        return
    fixed = {**os.environ, "PYTHONHASHSEED": "0", "TZ": "UTC"}
    os.execve(sys.executable, [sys.executable, "-m", "perdure", *sys.argv[1:]], fixed)  # noqa: S606 - our own command


def prepare() -> Settings:
    """Read the settings of a process from the environment, and set up its log.

    Raises:
        CliError: `invalid_settings`.
    """
    from pydantic import ValidationError

    from config.settings import Settings
    from perdure.app.signals import end_where_it_stands
    from perdure.observability.logging import configure_logging

    try:
        settings = Settings()
    except ValidationError as error:
        problems = (
            f"{_variable(str(entry['loc'][0]))}: {entry['msg']}"
            for entry in error.errors(include_input=False, include_url=False)
        )
        raise CliError("; ".join(problems), code="invalid_settings") from None
    end_where_it_stands()
    configure_logging(settings)
    return settings


def _variable(name: str) -> str:
    return name if name.isupper() else f"PERDURE_{name.upper()}"


def _run(process: Coroutine[Any, Any, None]) -> None:
    """Run a process whose modules are loaded."""
    look_for_garbage_rarely()
    keep_what_is_freed()
    if sys.platform == "win32":
        asyncio.run(process)
        return
    import uvloop

    uvloop.run(process)
