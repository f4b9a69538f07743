"""Whom a worker stores large payloads of a workflow for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import CommandType
from temporalio.converter import StorageDriverWorkflowInfo
from temporalio.worker import WorkflowRunner

from perdure.temporal.watchdog import Watchdog, WatchedRunner


class Runner:
    """Makes instances that nobody may ask."""

    def create_instance(self, details: Any) -> None:
        del details


@pytest.mark.parametrize(
    ("command", "is_own"),
    [
        ("SCHEDULE_ACTIVITY_TASK", True),
        # Actions that a sync triggers keep their input and result, and so do items their result.
        ("START_CHILD_WORKFLOW_EXECUTION", False),
        ("COMPLETE_WORKFLOW_EXECUTION", False),
        ("SIGNAL_EXTERNAL_WORKFLOW_EXECUTION", False),
        (None, False),
    ],
)
def test_only_inputs_of_steps_are_stored_for_the_workflow_itself(
    command: str | None, is_own: bool
) -> None:
    info = SimpleNamespace(
        namespace="default", workflow_id="sync/dev/a", run_id="0198", workflow_type="sync"
    )
    runner = WatchedRunner(cast("WorkflowRunner", Runner()), Watchdog(lambda _: None))
    instance = runner.create_instance(cast("Any", SimpleNamespace(info=info)))
    asked = command and SimpleNamespace(
        command_type=CommandType.Value(f"COMMAND_TYPE_{command}"), command_seq=1
    )

    target = instance.get_external_store_context(cast("Any", asked)).target

    own = StorageDriverWorkflowInfo(
        namespace="default", id="sync/dev/a", run_id="0198", type="sync"
    )
    assert target == (own if is_own else None)
