"""What every part of the helper stands on: the run, its steps, its secrets and its log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, to_json
from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.connections import ConnectionRef
    from activities.runs import LogEntry, LogInput, RunActivities
    from perdure.nango import HelperError, LoggerLevel, LogLevel, NangoAction
    from perdure.nango.values import LOG_LEVELS
    from perdure.scripts.secrets import KnownSecrets
    from perdure.scripts.text import clean, shown
    from perdure.temporal import policies
    from perdure.temporal.payloads import RunContext, RunState
    from workflows.helper_errors import raise_helper_error
    from workflows.history import History
    from workflows.log_buffer import LogBuffer
    from workflows.progress import Progress
    from workflows.steps import run_step
    from workflows.validation import Validation

__all__ = ["HelperSteps"]

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")

_LOG_LENGTH = 99_000


_GRAVITY: Mapping[LoggerLevel, int] = {"debug": 0, "info": 1, "warn": 2, "error": 3, "off": 4}


class HelperSteps(NangoAction):
    """The common ground of the helper's parts.

    Args:
        context: The run.
        limit: How long one step goes on trying while its failures are transient.
        priority: Fairness key of the run's steps.

    Attributes:
        has_requested: Whether the external API was asked for anything yet.
        history: Watched where the run says so.
        progress: How far the run is.
        resumes: Whether the run goes on from a checkpoint of an earlier one.
        steps_under_way: Steps the script has asked for and not heard of.
    """

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        self.connection_id = context.connection_id
        self.provider_config_key = context.integration
        self.provider = context.provider
        self.environment_name = context.environment
        self.run_id = context.run_id
        self.bundle = context.bundle
        self.secrets = KnownSecrets()
        self.has_requested = False
        self._context = context
        self._limit = limit
        self._priority = priority
        self._log = LogBuffer(self._write_log)
        self._log_level: LoggerLevel = context.log_level
        self.validation: Validation | None = None
        self.history = History(context.history) if context.history else None
        self.progress = Progress(self.secrets.mask)
        self.resumes = False
        self.steps_under_way = 0
        self._halted = False
        self._writes: set[object] = set()

    def state(self) -> RunState:
        """Return what the run takes along into a new execution."""
        return RunState(progress=self.progress.snapshot(), resumes=self.resumes)

    def resume(self, state: RunState) -> None:
        """Go on with what a former execution of the run left."""
        self.progress.resume(state.progress)
        self.resumes = state.resumes

    def state_of_item(self) -> RunState:
        """Return what the helper of an item of `nango.each` begins with."""
        none = RunState()
        names = ("progress", "each_calls", "checkpoint", "writes", "pipelines")
        own = {name: getattr(none, name) for name in names}
        return self.state().model_copy(update=own)

    @property
    def is_halted(self) -> bool:
        """Whether the script is to do nothing more in this execution."""
        return self._halted

    def halt(self) -> None:
        """Let no further step of the script begin; those under way go on."""
        self._halted = True

    def drop_ahead(self) -> None:
        """Give up what was asked for ahead of the script, which will not come for it."""

    def go_on(self) -> None:
        """Let steps begin again, those that waited first."""
        self._halted = False

    async def close(self) -> None:
        """Wait for what is written behind."""
        await self._log.close()

    async def settle(self) -> None:
        """Wait until what the script has handed over is written.

        Raises:
            HelperError: It could not be written.
        """

    async def warn(self, message: str) -> None:
        """Write a warning of the engine's own to the run's log."""
        self._write_line(message, "warn")

    async def tell(self, message: str) -> None:
        """Write a line of the engine's own to the run's log."""
        self._write_line(message, "info")

    async def log(self, *args: Any, level: LogLevel = "info") -> None:
        """See base class."""
        known = _known_level(level)
        if _GRAVITY[known] >= _GRAVITY[self._log_level]:
            words = (arg if isinstance(arg, str) else _as_text(arg) for arg in args)
            self._write_line(" ".join(words), known)

    def set_logger(self, *, level: LoggerLevel) -> None:
        """See base class."""
        self._log_level = "off" if level == "off" else _known_level(level)

    def _write_line(self, text: str, level: LogLevel) -> None:
        message = self.secrets.mask(clean(text))[:_LOG_LENGTH]
        self._log.add(LogEntry(at=workflow.now(), level=level, message=message))

    async def _lookup(
        self,
        activity: Callable[[Any, ArgumentT], Awaitable[ResultT]],
        argument: ArgumentT,
        summary: str,
        *,
        observes: bool = True,
    ) -> ResultT:
        try:
            return await self._step(activity, argument, summary, observes=observes)
        except ActivityError as error:
            raise_helper_error(error)

    def _ref_of(self, integration: str | None, connection_id: str | None) -> ConnectionRef:
        own = (self._context.integration, self._context.connection_id)
        is_own = (integration or own[0], connection_id or own[1]) == own
        return ConnectionRef(
            environment_id=self._context.environment_id,
            integration=integration or self._context.integration,
            connection_id=connection_id or self._context.connection_id,
            key=self._context.connection_key if is_own else None,
            version=self._context.credentials_version if is_own else 0,
            environment=self._context.environment,
            script=self._context.script,
        )

    async def _step(
        self,
        activity: Callable[[Any, ArgumentT], Awaitable[ResultT]],
        argument: ArgumentT,
        summary: str,
        policy: ActivityConfig = policies.BOOKKEEPING,
        *,
        observes: bool = True,
    ) -> ResultT:
        """Take a step of the script.

        Args:
            activity: What is done.
            argument: Its argument.
            summary: What it does, for people.
            policy: One of `perdure.temporal.policies`.
            observes: Whether the step, or somebody who hears of it, may look at records: then all
                that the script wrote before is written first.
        """
        if observes:
            await self.settle()
        await self._unhalted()
        self._raise_unwritten()
        with self._under_way():
            return await self._engine_step(activity, argument, summary, policy)

    async def _engine_step(
        self,
        activity: Callable[[Any, ArgumentT], Awaitable[ResultT]],
        argument: ArgumentT,
        summary: str,
        policy: ActivityConfig = policies.BOOKKEEPING,
    ) -> ResultT:
        if policy.get("schedule_to_close_timeout") == policies.SYNC_LIMIT:
            policy = {**policy, "schedule_to_close_timeout": self._limit}
        return await run_step(
            activity,
            argument,
            summary=self.secrets.mask(summary),
            policy=policy,
            priority=self._priority,
        )

    def _raise_unwritten(self) -> None:
        """Raise why records that the script has handed over could not be written."""

    def _has(self, change: str) -> bool:
        """Say whether a change of the engine applies: not to runs that began before it."""
        return workflow.patched(change)

    async def _unhalted(self) -> None:
        if self._halted:
            await workflow.wait_condition(lambda: not self._halted)

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        self.steps_under_way += 1
        try:
            yield
        finally:
            self.steps_under_way -= 1

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Mark what a checkpoint that is saved meanwhile has to wait for."""
        write = object()
        self._writes.add(write)
        try:
            yield
        finally:
            self._writes.discard(write)

    async def _all_written(self) -> None:
        before = set(self._writes)
        if before:
            await workflow.wait_condition(lambda: not before & self._writes)

    async def _write_log(self, batch: int, lines: Sequence[LogEntry]) -> None:
        await self._engine_step(
            RunActivities.write_log,
            LogInput(context=self._context, batch=batch, lines=list(lines)),
            "log 1 line" if len(lines) == 1 else f"log {len(lines)} lines",
        )


def _known_level(level: str) -> LogLevel:
    known = LOG_LEVELS.get(level)
    if known is None:
        msg = f"There is no log level {level!r}; there are: {', '.join(LOG_LEVELS)}"
        raise HelperError(msg, code="invalid_options")
    return known


def _as_text(value: Any) -> str:
    try:
        return to_json(value, fallback=shown).decode()
    except (PydanticSerializationError, UnicodeError, ValueError):
        return shown(value)
