"""Replays a run's history on this machine: the same code, with the answers it was given then.

Nothing is asked of any server: what steps returned stands in the history. A script from the working
folder may take the place of the one that ran; then the question is whether it would have done the
same up to where the run failed, and what it does there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle, ChildWorkflowHandle

from activities.runs import FinishRunInput
from activities.webhook_tasks import FinishWebhook
from config.scripts import Project
from perdure.app.registrations import ALL_WORKFLOWS
from perdure.errors import NotFoundError
from perdure.ids import BundleHash
from perdure.scripts import guard
from perdure.scripts.bundle import MODELS_FILE, Bundle
from perdure.scripts.failures import is_control_flow
from perdure.scripts.loader import is_script_file, needed_files, show_sources
from perdure.temporal.converter import ScriptError, data_converter
from perdure.temporal.failures import describe_failure
from perdure.temporal.payloads import ScriptFiles
from perdure.temporal.plugin import PerdurePlugin
from perdure.temporal.reset_point import failure_place, reset_point, until_task
from perdure.temporal.script_override import SCRIPT_MARK
from workflows.script_place import place_of_step
from workflows.scripts import failure_observer

__all__ = ["Replay", "Step", "replay", "script_traceback"]

_ASKED = frozenset(
    {
        EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
    }
)
# What the SDK notes of a step that was done where the workflow ran.
_AT_ONCE = "core_local_activity"


@dataclass(frozen=True, slots=True)
class Step:
    """A step that the run asked for.

    Attributes:
        name: Activity or workflow type.
        summary: What it does, for people.
        place: `file:line` of the script, None where the engine asked for it.
    """

    name: str
    summary: str
    place: str | None


@dataclass(slots=True)
class Replay:
    """What came of a replay.

    Attributes:
        steps: What was asked for, in order.
        recorded: How many steps the replayed part of the history has.
        mismatch: In what history and script differ, None where they fit.
        error: What the run failed with, as `describe_failure` gives it; None where it did not.
        exception: The exception itself, once it has left the run; its context is the script's own.
        is_part: Whether only the part before the step that failed was replayed.
        same_answer: What the script does where it is given the answer that made the run fail.
    """

    steps: list[Step] = field(default_factory=list)
    recorded: int = 0
    mismatch: str | None = None
    error: dict[str, Any] | None = None
    exception: BaseException | None = None
    is_part: bool = False
    same_answer: Replay | None = None

    @property
    def following(self) -> Sequence[Step]:
        """Steps that the run asks for after the replayed part of the history."""
        return self.steps[self.recorded :]


async def replay(
    document: Mapping[str, Any], *, local: Project | None = None, debug: bool = False
) -> Replay:
    """Replay a history.

    Args:
        document: Answer of `GET /runs/{id}/history`.
        local: The project whose script takes the place of the one that ran. Of a run that failed
            what is before the step that failed has to fit then; what comes after is told.
        debug: Let `breakpoint()` in the script stop, however long. With `local` the script is
            given the answer that made the run fail, too.

    Raises:
        NotFoundError: `script_not_found`, the project does not have the run's script.
    """
    history = WorkflowHistory.from_json(document["workflow_id"], dict(document["history"]))
    script = _script(history)
    if local is not None:
        script = _exchanged(history, script, local)
    if script is not None:
        show_sources(Bundle(BundleHash(script.bundle), script.files))
    failed = history.events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED
    if local is None or not failed:
        return await _replay(history, Replay(), debug=debug)
    whole = until_task(history, len(history.events))
    if debug:
        return await _replay(whole, Replay(), debug=True)
    before = await _before_failure(history)
    if before is None:
        return await _replay(whole, Replay(), debug=False)
    found = await _replay(before, Replay(is_part=True), debug=False)
    if found.mismatch is None and found.error is None:
        found.same_answer = await _replay(whole, Replay(), debug=False)
    return found


async def _replay(history: WorkflowHistory, found: Replay, *, debug: bool) -> Replay:
    found.recorded = sum(_is_step(event) for event in history.events)
    if not debug:
        guard.install()
    replayer = Replayer(
        workflows=ALL_WORKFLOWS,
        plugins=[PerdurePlugin(data_converter(None, None))],
        interceptors=[_Observer(found)],
        debug_mode=debug,
    )
    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    if result.replay_failure is not None:
        found.mismatch = str(result.replay_failure)
    return found


def _is_step(event: HistoryEvent) -> bool:
    marker = event.marker_recorded_event_attributes
    return event.event_type in _ASKED or marker.marker_name == _AT_ONCE


def _script(history: WorkflowHistory) -> ScriptFiles | None:
    """Return the script that ran; None where the run ended before it was loaded."""
    for payload in _script_payloads(history.events):
        return ScriptFiles.model_validate_json(payload.data)
    return None


def _exchanged(
    history: WorkflowHistory, script: ScriptFiles | None, project: Project
) -> ScriptFiles:
    if script is None:
        msg = "The run's history holds no script that another one could take the place of."
        raise NotFoundError(msg, code="script_not_found")
    if script.path not in project.files:
        msg = f"The project has no {script.path}, which is the run's script."
        raise NotFoundError(msg, code="script_not_found")
    try:
        files = needed_files(project.files, script.path)
    except SyntaxError:
        files = dict(project.files)  # the script's own border tells file and line
    files[MODELS_FILE] = project.files[MODELS_FILE]
    other = ScriptFiles(bundle=project.hash, path=script.path, files=files)
    for payload in _script_payloads(history.events):
        payload.data = other.model_dump_json().encode()
    return other


def _script_payloads(events: Sequence[HistoryEvent]) -> list[Any]:
    payloads: list[Any] = []
    for event in events:
        if event.HasField("workflow_execution_started_event_attributes"):
            payloads += event.workflow_execution_started_event_attributes.input.payloads
        elif event.HasField("activity_task_completed_event_attributes"):
            payloads += event.activity_task_completed_event_attributes.result.payloads
        elif event.HasField("marker_recorded_event_attributes"):
            for detail in event.marker_recorded_event_attributes.details.values():
                payloads += detail.payloads
    return [payload for payload in payloads if SCRIPT_MARK in payload.metadata]


async def _before_failure(history: WorkflowHistory) -> WorkflowHistory | None:
    """Return the part of a history that a retry keeps."""
    failed_at, failed_call = await failure_place(history.events[-1], data_converter(None, None))
    point = reset_point(history.events, failed_at, failed_call)
    return None if point is None else until_task(history, point)


def script_traceback(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception that ends in the script, for a debugger."""
    cause = error.__context__ or error
    traces = []
    trace = cause.__traceback__
    while trace is not None:
        traces.append(trace)
        trace = trace.tb_next
    in_script = [is_script_file(one.tb_frame.f_code.co_filename) for one in traces]
    while traces and any(in_script) and not in_script[len(traces) - 1]:
        traces.pop()
    following: TracebackType | None = None
    for one in reversed(traces):
        following = TracebackType(following, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return following


class _Observer(Interceptor):
    """Sees what the replayed workflow asks for, and what it fails with."""

    def __init__(self, found: Replay) -> None:
        self._found = found

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,
    ) -> type[WorkflowInboundInterceptor] | None:
        """See base class."""
        del input
        found = self._found

        def note(failure: ScriptError) -> None:
            found.error = describe_failure(failure)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(_Outbound(outbound, found))

            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                failure_observer.set(note)
                try:
                    result = await super().execute_workflow(input)
                    # An action that was run again, and then succeeded.
                    found.error = None
                    return result
                except BaseException as error:
                    if not is_control_flow(error):
                        found.error, found.exception = describe_failure(error), error
                    raise

        return Inbound


class _Outbound(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, found: Replay) -> None:
        super().__init__(next)
        self._found = found

    def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:
        self._note(input)
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
        self._note(input)
        return super().start_local_activity(input)

    async def start_child_workflow(
        self,
        input: StartChildWorkflowInput,
    ) -> ChildWorkflowHandle[Any, Any]:
        self._found.steps.append(Step(input.workflow, input.static_summary or "", place_of_step()))
        return await super().start_child_workflow(input)

    def _note(self, asked: StartActivityInput | StartLocalActivityInput) -> None:
        self._found.steps.append(Step(asked.activity, asked.summary or "", place_of_step()))
        what = asked.args[0] if asked.args else None
        if isinstance(what, FinishRunInput | FinishWebhook) and what.error:
            # A run that notes its end fails only after that; it is about to here.
            self._found.error = what.error
