"""Histories of released versions replay on the present code; a changed step is noticed."""

from __future__ import annotations

import json

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from perdure.app.worker import ALL_WORKFLOWS
from perdure.crypto.keyring import KeyRing
from perdure.temporal.converter import data_converter
from perdure.temporal.plugin import PerdurePlugin
from tests.replay.record import HISTORIES, KEY

FILES = sorted(HISTORIES.glob("*.json"))


def replayer() -> Replayer:
    converter = data_converter(KeyRing.parse(KEY), None)
    return Replayer(workflows=ALL_WORKFLOWS, plugins=[PerdurePlugin(converter)])


def history(text: str) -> WorkflowHistory:
    return WorkflowHistory.from_json("recorded", text)


@pytest.mark.parametrize("name", [file.stem for file in FILES])
async def test_recorded_history_replays(name: str) -> None:
    await replayer().replay_workflow(history((HISTORIES / f"{name}.json").read_text()))


async def test_history_with_another_step_does_not_replay() -> None:
    recorded = json.loads((HISTORIES / "sync-success.json").read_text())
    scheduled = [
        event["activityTaskScheduledEventAttributes"]
        for event in recorded["events"]
        if "activityTaskScheduledEventAttributes" in event
    ]
    changed = next(a for a in scheduled if a["activityType"]["name"] == "batch_save")
    changed["activityType"]["name"] = "batch_delete"

    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(history(json.dumps(recorded)))


def test_there_are_fixtures() -> None:
    recorded = {"sync-success", "sync-failure", "action-success", "deploy-success"}
    recorded |= {"connection-create-success", "connection-delete-success"}
    recorded |= {"on-event-success", "on-event-failure", "action-queued-success", "action-timeout"}
    recorded |= {"webhook-success", "webhook-failure", "webhook-dispatch-success"}
    recorded |= {"sync-tracked-success", "sync-ahead-success", "sync-ahead-failure"}
    recorded |= {"sync-timeout", "sync-paused-success"}
    assert {file.stem for file in FILES} >= recorded
