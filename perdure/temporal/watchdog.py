"""Ends runs whose script blocks its worker again and again.

The SDK fails a workflow task that does not yield within two seconds and the server tries it
again, for ever. This runner counts such failures of a run that come without progress between
them and, after a few, lets the run itself fail with an error that names the script's file and
line. A thread that cannot even be interrupted is reported through `on_stuck`, so that the worker
can terminate the run; the thread is lost, the worker goes on. A call into C that keeps the
interpreter's lock stops the whole process, this watchdog too: only a supervisor can help then.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from temporalio import workflow
from temporalio.api.enums.v1 import CommandType
from temporalio.converter import (
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
    WorkflowSerializationContext,
)
from temporalio.exceptions import ApplicationError
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

__all__ = ["Blocked", "Watchdog", "WatchedRunner"]

_DEADLOCK_SECONDS = 1.9  # the SDK gives up at 2.0
_STUCK_SECONDS = 20.0
_POLL_SECONDS = 0.1
_ALLOWED_FAILURES = 3
_NO_TARGET = StorageDriverStoreContext(target=None)

LocateScript = Callable[[FrameType], str | None]
"""Returns `file:line` of the script for a frame, None where it is not a script's."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A run whose script blocks.

    Attributes:
        workflow_id: Its workflow.
        run_id: Its run.
        where: `file:line` of the script when it was seen blocking.
    """

    workflow_id: str
    run_id: str
    where: str

    @property
    def message(self) -> str:
        """What happened and what to do, for people."""
        return (
            f"{self.where}: the script blocked its worker for more than 2 seconds without "
            "awaiting anything, several times in a row. Long computations and blocking calls "
            "belong in a function called as a step: `await nango.run(fn, ...)`."
        )

    def failure(self) -> ApplicationError:
        """Return the failure of the run. Raised from an activation, it ends the run for good."""
        file, _, line = self.where.rpartition(":")
        where = {"file": file, "line": int(line)} if file else {}
        return ApplicationError(self.message, where, type="script_blocked", non_retryable=True)


@dataclass(slots=True)
class _Activation:
    workflow_id: str
    run_id: str
    live: bool
    thread_id: int
    started: float
    counted: bool = False
    reported: bool = False


@dataclass(slots=True)
class _Count:
    failures: int
    blocked: Blocked


@dataclass
class Watchdog:
    """Watches the activations of a worker process.

    Args:
        locate: Finds the script's line in a stack.
        on_stuck: Called from the watchdog's thread, once per thread that cannot be interrupted.
        import_function: Name of the function in which a first import is waited for, which is
            no fault of the script.
    """

    locate: LocateScript
    on_stuck: Callable[[Blocked], None] = field(default=lambda _: None)
    import_function: str = "import_in_background"
    _active: dict[int, _Activation] = field(default_factory=dict, init=False)
    _counts: dict[str, _Count] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def verdict(self, run_id: str) -> Blocked | None:
        """Return why a run must not be tried again, None where it may."""
        with self._lock:
            count = self._counts.get(run_id)
            if count is None or count.failures < _ALLOWED_FAILURES:
                return None
            del self._counts[run_id]
            return count.blocked

    def enter(self, workflow_id: str, run_id: str, *, live: bool) -> int:
        """Note that the calling thread begins an activation; returns a token for `leave`."""
        thread_id = threading.get_ident()
        now = time.monotonic()
        with self._lock:
            self._active[thread_id] = _Activation(workflow_id, run_id, live, thread_id, now)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="perdure-watchdog", daemon=True
                )
                self._thread.start()
        return thread_id

    def leave(self, token: int) -> None:
        """Note that the activation ended; one that was live and quick is progress."""
        with self._lock:
            activation = self._active.pop(token, None)
            if activation and activation.live and not activation.counted:
                self._counts.pop(activation.run_id, None)

    def _watch(self) -> None:
        while True:
            time.sleep(_POLL_SECONDS)
            for blocked in self._look():
                self.on_stuck(blocked)

    def _look(self) -> list[Blocked]:
        now = time.monotonic()
        stuck = []
        with self._lock:
            for activation in self._active.values():
                lasted = now - activation.started
                if lasted >= _DEADLOCK_SECONDS and not activation.counted:
                    activation.counted = True
                    self._count(activation)
                if lasted >= _STUCK_SECONDS and not activation.reported:
                    activation.reported = True
                    stuck.append(self._describe(activation))
        return stuck

    def _count(self, activation: _Activation) -> None:
        if self._is_waiting_for_import(activation.thread_id):
            return
        blocked = self._describe(activation)
        count = self._counts.setdefault(activation.run_id, _Count(0, blocked))
        count.failures += 1
        count.blocked = blocked

    def _is_waiting_for_import(self, thread_id: int) -> bool:
        frame = sys._current_frames().get(thread_id)
        while frame is not None:
            if frame.f_code.co_name == self.import_function:
                return True
            frame = frame.f_back
        return False

    def _describe(self, activation: _Activation) -> Blocked:
        frame = sys._current_frames().get(activation.thread_id)
        where = None
        while frame is not None and where is None:
            where = self.locate(frame)
            frame = frame.f_back
        return Blocked(activation.workflow_id, activation.run_id, where or "the script")


class WatchedRunner(WorkflowRunner):
    """Runs workflows through another runner under the eyes of a watchdog."""

    def __init__(self, runner: WorkflowRunner, watchdog: Watchdog) -> None:
        self._runner = runner
        self._watchdog = watchdog

    def prepare_workflow(self, defn: Any) -> None:
        """See base class."""
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        instance = self._runner.create_instance(det)
        return _WatchedInstance(instance, self._watchdog, det.info)

    def set_worker_level_failure_exception_types(self, types: Any) -> None:
        """See base class."""
        self._runner.set_worker_level_failure_exception_types(types)


class _WatchedInstance(WorkflowInstance):
    def __init__(self, instance: WorkflowInstance, watchdog: Watchdog, info: workflow.Info) -> None:
        self._instance = instance
        self._watchdog = watchdog
        self._workflow_id = info.workflow_id
        self._run_id = info.run_id
        self._context = WorkflowSerializationContext(
            namespace=info.namespace, workflow_id=info.workflow_id
        )
        self._for_steps = StorageDriverStoreContext(
            StorageDriverWorkflowInfo(
                namespace=info.namespace,
                id=info.workflow_id,
                run_id=info.run_id,
                type=info.workflow_type,
            )
        )

    def activate(self, act: Any) -> Any:
        # Neither a replay nor an eviction says that the run makes progress.
        live = not act.is_replaying and not any(
            job.HasField("remove_from_cache") for job in act.jobs
        )
        # What is replayed must be as the history has it; only after that may the run fail.
        blocked = self._watchdog.verdict(self._run_id) if live else None
        if blocked is not None:
            raise blocked.failure()
        token = self._watchdog.enter(self._workflow_id, self._run_id, live=live)
        try:
            return self._instance.activate(act)
        except (SystemExit, KeyboardInterrupt) as error:
            # Raised in a task of the script, they would end the worker's event loop.
            msg = f"the script tried to end the process: {type(error).__name__}"
            raise ApplicationError(msg, type="script_internal_error", non_retryable=True) from None
        finally:
            self._watchdog.leave(token)

    # The SDK asks several times for each payload, and the sandbox takes its time to answer. Our
    # codec wants to know whose payload it is, our storage what no other workflow may be given.
    def get_serialization_context(self, command_info: Any) -> Any:
        del command_info
        return self._context

    def get_external_store_context(self, command_info: Any) -> Any:
        is_step = (
            command_info is not None
            and command_info.command_type == CommandType.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK
        )
        return self._for_steps if is_step else _NO_TARGET

    def get_info(self) -> Any:
        return self._instance.get_info()

    def get_thread_id(self) -> int | None:
        return self._instance.get_thread_id()
