"""How `perdure dev` deploys its project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from pytest_httpserver import HTTPServer

from perdure.app.cli.commands.dev import deploy_project
from perdure.app.cli.errors import CliError
from perdure.app.cli.starter import write_project
from perdure.app.dev import DevFile
from perdure.app.dev.folder import Pids
from perdure.errors import InvalidInputError
from tests.unit.cli.calls import KEY


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_project(tmp_path)
    return tmp_path


def stack_at(url: str) -> DevFile:
    pid = os.getpid()
    return DevFile(
        api_url=url,
        secret_key=SecretStr(KEY),
        temporal_address="",
        temporal_namespace="",
        temporal_ui_url="",
        database_url="",
        pids=Pids(dev=pid, api=pid, worker=pid, temporal=pid, postgres=pid),
    )


async def test_outcome_is_one_line(httpserver: HTTPServer, project: Path) -> None:
    httpserver.expect_request(
        "/deployments", headers={"authorization": f"Bearer {KEY}"}
    ).respond_with_json(
        {
            "bundle": "c8d2112b861b77777",
            "changed": True,
            "warnings": [],
            "integrations": [{"key": "github", "syncs": [{}, {}], "actions": [{}]}],
            "plan": {"entries": []},
        }
    )

    outcome = await deploy_project(project, stack_at(httpserver.url_for("")))

    assert outcome.summary == "deployed bundle c8d2112b861b: github (2 syncs, 1 action)"
    assert outcome.problems == ()


async def test_deploy_under_way_is_waited_for(httpserver: HTTPServer, project: Path) -> None:
    error = {"code": "concurrent_deployment", "message": "busy"}
    done = {"bundle": "c8d2112b861b77777", "changed": False, "warnings": []}
    httpserver.expect_ordered_request("/deployments").respond_with_json(
        {"error": error}, status=409
    )
    httpserver.expect_ordered_request("/deployments").respond_with_json(done)

    outcome = await deploy_project(project, stack_at(httpserver.url_for("")))

    assert outcome.summary == "nothing changed since bundle c8d2112b861b"


async def test_problems_of_the_project_are_told(httpserver: HTTPServer, project: Path) -> None:
    payload = {"problems": ["a", "b"]}
    error = {"code": "compile_failed", "message": "2 problems.\na\nb", "payload": payload}
    httpserver.expect_request("/deployments").respond_with_json({"error": error}, status=400)

    outcome = await deploy_project(project, stack_at(httpserver.url_for("")))

    assert (outcome.summary, outcome.problems) == ("2 problems.", ("a", "b"))


async def test_what_keeps_a_deploy_from_happening_is_raised(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError):
        await deploy_project(tmp_path, stack_at("http://127.0.0.1:1"))
    write_project(tmp_path)
    with pytest.raises(CliError):
        await deploy_project(tmp_path, stack_at("http://127.0.0.1:1"))
