"""Histories of released versions replay on the present code; a changed step is noticed."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from perdure._version import __version__
from perdure.app.registrations import ALL_WORKFLOWS
from perdure.crypto.keyring import KeyRing
from perdure.observability.trace_export import RunTracing
from perdure.temporal.converter import data_converter
from perdure.temporal.external_storage import PostgresStorageDriver
from perdure.temporal.names import WorkflowType
from perdure.temporal.plugin import PerdurePlugin
from tests.replay.record import CURRENT, HISTORIES, KEY, CommittedBlobs, read
from tests.replay.scenarios import SCENARIOS

FILES = sorted(HISTORIES.glob("*/*.json.gz"))
RECORD = f"python -m tests.replay.record writes the histories of {__version__}"


def replayer(tracing: RunTracing | None = None) -> Replayer:
    driver = PostgresStorageDriver(CommittedBlobs())
    converter = data_converter(KeyRing.parse(KEY), driver)
    plugin = PerdurePlugin(converter, tracing=tracing)
    return Replayer(workflows=ALL_WORKFLOWS, plugins=[plugin])


def history(text: str) -> WorkflowHistory:
    return WorkflowHistory.from_json("recorded", text)


@pytest.mark.parametrize(
    "name", [str(file.relative_to(HISTORIES)).removesuffix(".json.gz") for file in FILES]
)
async def test_recorded_history_replays(name: str) -> None:
    await replayer().replay_workflow(history(read(HISTORIES / f"{name}.json.gz")))


async def test_histories_that_know_nothing_of_traces_replay_with_them_and_add_no_span() -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))

    # Some of them are enough: what is looked at is common to all workflows.
    for file in FILES[::5]:
        tracing = RunTracing(provider.get_tracer("tests"))
        await replayer(tracing).replay_workflow(history(read(file)))

    assert [span.name for span in spans.get_finished_spans()] == []


async def test_history_with_another_step_does_not_replay() -> None:
    recorded = json.loads(read(CURRENT / "loop.sync.json.gz"))
    scheduled = [
        event["activityTaskScheduledEventAttributes"]
        for event in recorded["events"]
        if "activityTaskScheduledEventAttributes" in event
    ]
    changed = next(a for a in scheduled if a["activityType"]["name"] == "batch_save")
    changed["activityType"]["name"] = "batch_delete"

    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(history(json.dumps(recorded)))


def test_every_workflow_type_has_a_history_of_this_version() -> None:
    recorded = {file.name.split(".")[1] for file in CURRENT.glob("*.json.gz")}
    assert recorded == {*WorkflowType}, RECORD


def test_every_scenario_has_a_history_of_this_version_and_none_is_of_another() -> None:
    recorded = {file.name.split(".")[0] for file in CURRENT.glob("*.json.gz")}
    assert recorded == {*SCENARIOS}, RECORD


def test_histories_stay_small() -> None:
    assert sum(file.stat().st_size for file in HISTORIES.rglob("*.gz")) < 2 * 1024 * 1024
