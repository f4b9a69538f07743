"""The `perdure` command: which commands there are, and how their errors leave the process."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, NoReturn

from cyclopts import App, CycloptsError, Parameter

from perdure._version import __version__
from perdure.app.cli.commands import (
    actions,
    api_keys,
    audit,
    config,
    connections,
    deployments,
    env,
    environment,
    environments,
    integrations,
    keys,
    processes,
    project,
    providers,
    records,
    runs,
    syncs,
    webhooks,
    workers,
)
from perdure.app.cli.commands.compile import compile_
from perdure.app.cli.commands.dev import dev
from perdure.app.cli.commands.dryrun import dryrun
from perdure.app.cli.commands.logs import logs, run_logs
from perdure.app.cli.commands.replay import replay
from perdure.app.cli.commands.webhook_events import events, replay_events
from perdure.app.cli.errors import CliError, CommandFailedError, ExitCode
from perdure.app.cli.options import BUILD, OPERATE, USE
from perdure.errors import PerdureError

__all__ = ["app", "main"]


def _usage(error: CycloptsError) -> str:
    command = " ".join(("perdure", *(error.command_chain or ())))
    return f"error: {' '.join(str(error).split())}\nhint: `{command} --help` shows how it is called"


app = App(
    name="perdure",
    help="A durable integration engine: nango.yaml syncs and actions as Temporal workflows.",
    version=__version__,
    version_flags=["--version"],
    error_formatter=_usage,
)

app.command(project.init, group=BUILD)
app.command(dev, group=BUILD)
app.command(project.deploy, group=BUILD)
app.command(config.app)
app.command(config.generate, group=BUILD)
app.command(compile_, name="compile", group=BUILD)
app.command(dryrun, group=BUILD)
app.command(replay, group=BUILD)
app.command(config.generate_tests, name="generate:tests", group=BUILD)
app.command(deployments.app)
app.command(environment.app)
app.command(env.app)
app.command(providers.app)
app.command(integrations.app)
app.command(connections.app)
app.command(syncs.app)
app.command(records.app)
app.command(actions.app)
runs.app.command(run_logs, name="logs")
app.command(runs.app)
app.command(logs, group=USE)
webhooks.app.command(events)
webhooks.app.command(replay_events, name="replay")
app.command(webhooks.app)
app.command(environments.app)
app.command(api_keys.app)
app.command(audit.audit, group=OPERATE)
app.command(processes.migrate, group=OPERATE)
app.command(processes.api, group=OPERATE)
app.command(processes.worker, group=OPERATE)
app.command(workers.app)
app.command(keys.app)


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    debug: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Run a command.

    Args:
        tokens: The command and its arguments.
        debug: Show tracebacks of errors.
    """
    try:
        code = app(tokens, result_action="return_value") or ExitCode.OK
        sys.stdout.flush()
    except CommandFailedError as failed:
        if debug:
            raise
        return _report(failed.error, failed.exit_code)
    except PerdureError as error:
        if debug:
            raise
        return _report(error, error.exit_code if isinstance(error, CliError) else ExitCode.FAILED)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be written at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    return code


def main() -> int:
    """Run the command line of this process and return its exit code."""
    result = app.meta(sys.argv[1:], result_action="return_value")
    code = ExitCode.OK if result is None else int(result)
    if "temporalio" in sys.modules:
        _end_now(code)
    return code


def _end_now(code: int) -> NoReturn:
    """End the process without taking the interpreter down piece by piece.

    The threads of Temporal's core may call back while the interpreter is being taken down, which
    aborts the process; and a script's thread that cannot be interrupted would keep it alive.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _report(error: PerdureError, code: ExitCode) -> ExitCode:
    from perdure.app.cli import render

    render.failure(error)
    return code
