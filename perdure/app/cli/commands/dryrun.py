"""`perdure dryrun`: what a script would do, found out by running it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from perdure.app.cli.errors import ExitCode, UsageError, failing_with
from perdure.app.cli.options import DEFAULT_SERVER, AsJson, ServerOptions, json_value
from perdure.app.cli.session import api

if TYPE_CHECKING:
    from perdure.app.cli.client import ApiClient

__all__ = ["dryrun"]

_FIRST_LOOK = 0.1
_LONGEST_WAIT = 2.0


async def dryrun(
    script: str,
    connection: str,
    /,
    *,
    environment: Annotated[str, Parameter(name=["--environment", "-e"])] = "dev",
    integration: Annotated[
        str | None, Parameter(name=["--integration", "--integration-id"])
    ] = None,
    input_: Annotated[
        str | None, Parameter(name=["--input", "-i"], allow_leading_hyphen=True)
    ] = None,
    metadata: Annotated[
        str | None, Parameter(name=["--metadata", "-m"], allow_leading_hyphen=True)
    ] = None,
    checkpoint: Annotated[
        str | None, Parameter(name=["--checkpoint", "-c"], allow_leading_hyphen=True)
    ] = None,
    last_sync_date: Annotated[
        datetime | None, Parameter(name=["--last-sync-date", "--lastSyncDate", "-l"])
    ] = None,
    variant: str = "base",
    validate: Annotated[
        bool, Parameter(name=["--validate", "--validation"], negative="", show_default=False)
    ] = False,
    save: Annotated[
        bool, Parameter(name=["--save", "--save-responses"], negative="", show_default=False)
    ] = False,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> int:
    """Run a sync, an action or a hook as it is in this folder, and show what it would change.

    It is not deployed, and none of our data changes: records, checkpoint, metadata and schedules
    stay as they are. Requests to the external API are made, those that write there included.

    Args:
        script: Name of the script, or the path of its file.
        connection: Id of the connection that it runs for.
        environment: Its key is `NANGO_SECRET_KEY_<ENVIRONMENT>`.
        integration: Key of the integration, where several have a script of the name.
        input_: Input of an action: JSON, @FILE, or - for standard input.
        metadata: In place of the connection's metadata: JSON, @FILE, or -.
        checkpoint: The checkpoint to go on from: JSON, @FILE, or -. By default there is none.
        last_sync_date: When the last run succeeded, as the script is told. By default never.
        variant: Variant of the sync.
        validate: Fail where a value does not fit its model, however strict the environment is.
        save: Write what was asked and answered to INTEGRATION/tests/NAME.test.json, for a test.
            Implies --validate.
        as_json: Print JSON.
        server: Server and key, and the project folder.
    """
    from perdure.app.cli import render
    from perdure.app.cli.fixtures import write_fixture
    from perdure.scripts.bundle import project_files

    moment = last_sync_date
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    wanted: dict[str, Any] = {
        "script": _name(script, server.project),
        "connection_id": connection,
        "integration": integration,
        "input": None if input_ is None else json_value(input_, "--input"),
        "metadata": _object(metadata, "--metadata"),
        "checkpoint": _object(checkpoint, "--checkpoint"),
        "last_sync_date": None if moment is None else moment.isoformat(),
        "variant": variant,
        "validate": validate or save,
        "keep_requests": save,
    }
    with failing_with(ExitCode.DRY_RUN):
        files = project_files(server.project)
        async with api(server, environment) as client:
            started = await client.start_dry_run({"files": files, **wanted})
            if not as_json:
                render.dry_run_started(started, connection)
            view = await _ended(client, started["run_id"], tell=not as_json)
    succeeded = view["run"]["status"] == "success"
    written: Path | None = None
    if save and succeeded and view["fixture"] is not None:
        written = write_fixture(server.project, started, wanted, view["fixture"])
    if as_json:
        render.print_json({**view, "fixture": None if written is None else str(written)})
    else:
        render.dry_run(view, written)
    refused = save and succeeded and written is None
    return ExitCode.OK if succeeded and not refused else ExitCode.DRY_RUN


async def _ended(client: ApiClient, run_id: str, *, tell: bool) -> dict[str, Any]:
    """Wait for the end of a dry run; whoever interrupts it ends it."""
    from perdure.app.cli import render

    shown, wait = 0, _FIRST_LOOK
    try:
        while True:
            view = await client.get_dry_run(run_id)
            lines = view["run"]["logs"]
            if tell:
                render.log_lines(lines[shown:])
            wait = _FIRST_LOOK if len(lines) > shown else min(2 * wait, _LONGEST_WAIT)
            shown = len(lines)
            if view["run"]["status"] != "running":
                return view
            await asyncio.sleep(wait)
    except asyncio.CancelledError:
        await client.cancel_run(run_id)
        raise


def _name(script: str, project: Path) -> str:
    """Return the name of a script, or where its file lies in the project."""
    path = Path(script)
    if path.suffix != ".py":
        return script
    try:
        return path.resolve().relative_to(project.resolve()).as_posix()
    except ValueError:
        return path.as_posix()


def _object(text: str | None, what: str) -> Any:
    if text is None:
        return None
    value = json_value(text, what)
    if not isinstance(value, dict):
        msg = f"{what} is a JSON object"
        raise UsageError(msg, hint='write {"name": "value"}, @FILE, or - for standard input')
    return value
