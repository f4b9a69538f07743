"""Runs a script of a project in a test, and says what it did."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from activities.sync_commands import SyncCommand
from config.compile import compile_project
from config.project import Action
from config.script_lookup import FoundScript, find_script
from config.scripts import Project
from perdure.clock import utcnow
from perdure.nango import LogLevel
from perdure.proxy.recording import Asked
from perdure.scripts.bundle import Bundle, ScriptKind, ScriptPlaces, project_files
from perdure.scripts.execution import modules_for_steps
from perdure.scripts.loader import show_sources
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import RunContext, RunState, ScriptFiles
from perdure.testing.answers import Answers
from perdure.testing.fixture import Fixture, Helper, read_fixture
from perdure.testing.helper import FakeAction, FakeSync
from perdure.testing.steps import MemorySteps
from workflows.scripts import as_json
from workflows.validation import Validation

__all__ = ["ScriptRun", "run_script"]


_KINDS = {
    ScriptKind.SYNC: WorkflowType.SYNC,
    ScriptKind.ACTION: WorkflowType.ACTION,
    ScriptKind.ON_EVENT: WorkflowType.ON_EVENT,
}


@dataclass(frozen=True, slots=True)
class ScriptRun:
    """What a script did in a test.

    Attributes:
        output: What an action returned, as JSON.
        saved: Records that it saved or updated and that are not deleted, by model, in the order
            in which each was written first.
        deleted: Ids of the records that it deleted, by model.
        logs: Level and text of each line.
        checkpoint: The checkpoint that is left.
        metadata: The connection's metadata as they are left.
        requests: What it asked the external API for, in order.
        triggered: Commands that it gave to syncs.
        fixture: What it was told.
    """

    output: Any
    saved: dict[str, list[dict[str, Any]]]
    deleted: dict[str, list[str]]
    logs: list[tuple[LogLevel, str]]
    checkpoint: dict[str, Any] | None
    metadata: dict[str, Any]
    requests: list[Asked]
    triggered: list[SyncCommand]
    fixture: Fixture = field(repr=False)

    def assert_as_recorded(self) -> None:
        """Hold what the script did against what the fixture says.

        Raises:
            AssertionError: It saved, deleted or returned something else.
        """
        told = self.fixture.helper
        assert self.output == self.fixture.output
        assert _by_id(self.saved) == _by_id(told.saved)
        deleted = {m: sorted(str(r["id"]) for r in gone) for m, gone in told.deleted.items()}
        assert {m: sorted(ids) for m, ids in self.deleted.items()} == deleted
        if told.left_checkpoint is not None:
            assert self.checkpoint == told.left_checkpoint


def run_script(
    project: Path,
    script: str,
    fixture: Fixture | Path | Mapping[str, Any],
    *,
    integration: str | None = None,
    **changes: Any,
) -> ScriptRun:
    """Run a script to its end.

    Values that do not fit their models fail it. Nothing is asked of any server.

    Args:
        project: The project folder.
        script: Name of the script, or the path of its file.
        fixture: What the script is told: a fixture, its file, or its content.
        integration: Key of the integration, where several have a script of the name.
        **changes: What the script is told otherwise than the fixture says: `input`, `metadata`,
            `checkpoint`, `api`, ...; see `Helper`.

    Raises:
        UnknownRequestError: The script asked for what the fixture does not hold.
        InvalidInputError: The project does not compile, or the fixture cannot be read.
        NotFoundError: The project has no such script.
        Exception: Whatever the script raises.
    """
    told = fixture if isinstance(fixture, Fixture) else read_fixture(fixture)
    told = told.with_changes(**changes) if changes else told
    compiled = _compiled(tuple(sorted(project_files(project).items())))
    found = find_script(compiled.config, ScriptPlaces(compiled.files), script, integration)
    return asyncio.run(_run(compiled, found, told))


@lru_cache(maxsize=8)
def _compiled(files: tuple[tuple[str, str], ...]) -> Project:
    return compile_project(dict(files)).project


async def _run(project: Project, script: FoundScript, told: Fixture) -> ScriptRun:
    bundle = Bundle(project.hash, project.files)
    show_sources(bundle)
    context = _context(project, script, told.helper)
    answers = Answers(told.api)
    steps = MemorySteps(context, told.helper, answers, bundle)
    helper = FakeSync if script.kind is ScriptKind.SYNC else FakeAction
    nango = helper(context, steps, told.helper.outputs)
    checkpoint = told.helper.checkpoint
    nango.resume(RunState(checkpoint=checkpoint, resumes=checkpoint is not None))
    files = ScriptFiles(bundle=project.hash, path=script.path, files=dict(project.files))
    nango.validation = Validation(context, files, nango.warn)
    module = modules_for_steps(bundle).load(script.path)
    output = None
    try:
        if isinstance(nango, FakeSync):
            await _fetch_data(module.fetch_data, nango, context)
        elif script.kind is ScriptKind.ON_EVENT:
            await module.on_event(nango)
        else:
            output = await _run_action(module.run_action, nango, context, told.input)
    except BaseException:
        # A script may have taken it for an error of the API and gone on to another one.
        if answers.unknown is not None:
            raise answers.unknown from None
        raise
    if answers.unknown is not None:
        raise answers.unknown
    state = nango.state()
    return ScriptRun(
        output=output,
        saved=_saved(steps),
        deleted=_deleted(steps),
        logs=nango.lines,
        checkpoint=state.checkpoint,
        metadata=await nango.get_metadata(),
        requests=answers.asked,
        triggered=nango.triggered,
        fixture=told,
    )


async def _fetch_data(fetch_data: Any, nango: FakeSync, context: RunContext) -> None:
    if nango.validation is not None:
        await nango.validation.check(
            context.input,
            await nango.get_metadata(),
            what=f"metadata of the connection ({context.input})",
            code="invalid_sync_input",
        )
    await fetch_data(nango)
    await nango.finish_deletes()


async def _run_action(run_action: Any, nango: FakeAction, context: RunContext, value: Any) -> Any:
    validation = nango.validation
    if validation is not None:
        await validation.check(context.input, value, what="input", code="invalid_action_input")
    takes_input = len(inspect.signature(run_action).parameters) > 1
    returned = await (run_action(nango, value) if takes_input else run_action(nango))
    output, _ = as_json(returned)
    if validation is not None:
        await validation.check(context.output, output, what="output", code="invalid_action_output")
    return output


def _context(project: Project, script: FoundScript, told: Helper) -> RunContext:
    declared, connection = script.declared, told.connection
    context = RunContext(
        run_id="test-run",
        workflow_id="test-run",
        started_at=utcnow(),
        environment="test",
        environment_id=1,
        integration=script.integration,
        provider=str(connection.get("provider") or script.integration),
        connection_id=str(connection.get("connection_id") or "test-connection"),
        connection_key=1,
        kind=_KINDS[script.kind],
        script=script.name,
        variant=told.variant,
        bundle=project.hash,
        validation="enforce",
        input=None if declared is None else declared.input,
        dry_run=True,
    )
    if declared is None:
        return context
    if isinstance(declared, Action):
        output = declared.output[0] if declared.output else None
        return context.model_copy(update={"output": output})
    return context.model_copy(
        update={
            "models": declared.output,
            "last_sync_date": told.last_sync_date,
            "full": declared.sync_type == "full",
            "track_deletes": declared.sync_type == "full" and declared.track_deletes,
            "delete_guard": declared.delete_guard,
        }
    )


def _saved(steps: MemorySteps) -> dict[str, list[dict[str, Any]]]:
    cache = steps.cache
    found = {
        model: [cache.payload(model, i) for i in ids if not cache.is_deleted(model, i)]
        for model, ids in cache.written.items()
    }
    return {model: records for model, records in found.items() if records}


def _deleted(steps: MemorySteps) -> dict[str, list[str]]:
    cache = steps.cache
    found = {
        model: [i for i in ids if cache.is_deleted(model, i)]
        for model, ids in cache.written.items()
    }
    return {model: ids for model, ids in found.items() if ids}


def _by_id(records: Mapping[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return {
        model: {str(record["id"]): {**record, "id": str(record["id"])} for record in found}
        for model, found in records.items()
    }
