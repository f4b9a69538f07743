"""The command line against the whole stack: a project from `init` to records, as users go about it.

GitHub is a local server here; everything else is what users run.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from perdure.app.dev import read_dev_file

WHERE = '{"owner": "acme", "repo": "site"}'


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


class Perdure:
    """The command, in the folder of a project in which `perdure dev` runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def __call__(self, *arguments: str, stdin: str = "") -> Ended:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "perdure", *arguments),
            cwd=self.folder,
            env=environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(stdin.encode())
        return Ended(process.returncode, out.decode(), err.decode())

    async def until(self, *command: str, holds: Callable[[Any], bool], seconds: float = 30) -> Any:
        """Repeat a command until its JSON is as wanted."""
        deadline = time.monotonic() + seconds
        while not holds(found := (await self(*command, "--json")).json):
            assert time.monotonic() < deadline, json.dumps(found)
            await asyncio.sleep(0.1)
        return found

    def log(self) -> str:
        return (self.folder / "dev.log").read_text()


def environment(**more: str) -> dict[str, str]:
    foreign = ("PERDURE_", "NANGO_", "TEMPORAL_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**own, "PYTHONPATH": str(Path(__file__).parents[2]), **more}


def issue(number: int, **fields: object) -> dict[str, object]:
    return {
        "id": 1000 + number,
        "number": number,
        "title": f"Issue {number}",
        "state": "open",
        "user": {"login": "ada"},
        "labels": [{"name": "bug"}],
        "html_url": f"https://github.test/{number}",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        **fields,
    }


@pytest.fixture(scope="module")
async def perdure(
    tmp_path_factory: pytest.TempPathFactory, make_httpserver: HTTPServer
) -> AsyncIterator[Perdure]:
    """A project as `init` writes it, and `perdure dev` at work on it."""
    perdure = Perdure(tmp_path_factory.mktemp("project"))
    assert (await perdure("init")).code == 0
    providers = perdure.folder / "providers.yml"
    url = make_httpserver.url_for("").rstrip("/")
    providers.write_text(
        f"github-public: {{alias: github-pat, auth_mode: NONE, proxy: {{base_url: '{url}'}}}}\n"
    )
    ports = ("--port", "0", "--temporal-port", "0", "--ui-port", "0")
    with (perdure.folder / "dev.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "perdure", "dev", "--project", ".", *ports),
            cwd=perdure.folder,
            env=environment(PERDURE_PROVIDERS=str(providers)),
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 90
            while read_dev_file(perdure.folder / ".perdure") is None:
                assert process.returncode is None, perdure.log()
                assert time.monotonic() < deadline, perdure.log()
                await asyncio.sleep(0.1)
            await says(perdure, "deployed bundle")
            yield perdure
        finally:
            if process.returncode is None:
                process.terminate()
            assert await asyncio.wait_for(process.wait(), 30) == 0, perdure.log()


async def says(perdure: Perdure, words: str) -> None:
    deadline = time.monotonic() + 30
    while words not in perdure.log():
        assert time.monotonic() < deadline, perdure.log()
        await asyncio.sleep(0.1)


@pytest.fixture
async def github(perdure: Perdure, httpserver: HTTPServer) -> AsyncIterator[HTTPServer]:
    """A repository with three issues and a pull request, and a connection `acme` to it."""
    listed = [issue(1), issue(2), issue(3, user=None), issue(4, pull_request={})]

    def issues(request: Request) -> Response:
        found = [] if "since" in request.args else listed
        return Response(json.dumps(found), content_type="application/json")

    httpserver.expect_request("/repos/acme/site/issues").respond_with_handler(issues)
    await perdure("integrations", "create", "github", "--provider", "github-public")
    command = ("connections", "create", "github", "--id", "acme", "--auth", "none")
    assert (await perdure(*command, "--metadata", WHERE)).code == 0
    yield httpserver
    assert (await perdure("connections", "delete", "github", "acme")).code == 0


def finished(count: int) -> Callable[[Any], bool]:
    return lambda found: (
        len(found["runs"]) == count
        and all(run["status"] not in {"running"} for run in found["runs"])
    )


async def test_project_of_init_syncs_and_answers(perdure: Perdure, github: HTTPServer) -> None:
    runs = ("runs", "list", "--script", "issues", "--connection", "acme")

    (first,) = (await perdure.until(*runs, holds=finished(1)))["runs"]
    assert first["status"] == "success", first
    assert first["counts"]["GithubIssue"]["added"] == 3
    records = ("records", "list", "github", "GithubIssue", "-c", "acme")
    found = (await perdure(*records, "--json")).json["records"]
    assert {record["number"] for record in found} == {1, 2, 3}
    assert [r["author"] for r in found if r["number"] == 3] == [None]
    assert "Issue 2" in (await perdure(*records)).out

    assert (await perdure("syncs", "trigger", "github", "issues", "-c", "acme")).code == 0
    second, _ = (await perdure.until(*runs, holds=finished(2)))["runs"]
    assert second["status"] == "success", second
    asked = [r.args.get("since") for r, _ in github.log if r.path.endswith("/issues")]
    assert asked[0] is None
    assert asked[1].endswith("Z"), "the second run asks for what changed since the first"

    shown = await perdure("runs", "show", second["id"])
    assert second["temporal_url"] in shown.out


async def test_action_of_init_returns_a_repository(perdure: Perdure, github: HTTPServer) -> None:
    github.expect_request("/repos/acme/site").respond_with_json(
        {
            "id": 7,
            "full_name": "acme/site",
            "description": None,
            "stargazers_count": 5,
            "open_issues_count": 3,
            "html_url": "https://github.test",
        }
    )
    command = ("actions", "trigger", "github", "repository", "-c", "acme", "--input")

    answer = (await perdure(*command, "-", stdin=WHERE)).json

    assert (answer["id"], answer["stars"]) == ("7", 5)


async def test_action_that_fails_says_where_and_why(perdure: Perdure, github: HTTPServer) -> None:
    github.expect_request("/repos/acme/gone").respond_with_json({"message": "nope"}, status=404)
    command = ("actions", "trigger", "github", "repository", "-c", "acme", "--input")

    failed = await perdure(*command, '{"owner": "acme", "repo": "gone"}')

    assert (failed.code, failed.out) == (1, "")
    assert failed.err.startswith("error: github/actions/repository.py:")
    assert "404" in failed.err
    refused = await perdure(*command, '{"owner": 1}')
    assert refused.code == 1
    assert "owner" in refused.err


async def test_paused_sync_starts_again(perdure: Perdure, github: HTTPServer) -> None:
    assert github
    status = ("syncs", "status", "github", "issues", "-c", "acme")
    settled = lambda found: found["syncs"][0]["status"] == "SUCCESS"  # noqa: E731 - one word
    await perdure.until(*status, holds=settled)

    assert (await perdure("syncs", "pause", "github", "issues", "-c", "acme")).code == 0
    paused = (await perdure(*status, "--json")).json["syncs"][0]
    assert paused["status"] == "PAUSED"
    assert "paused" in (await perdure(*status)).out

    assert (await perdure("syncs", "start", "github", "issues", "-c", "acme")).code == 0
    await perdure.until(*status, holds=settled)


async def test_connections_and_integrations_are_listed(
    perdure: Perdure, github: HTTPServer
) -> None:
    assert github
    (connection,) = (await perdure("connections", "list", "--json")).json["connections"]
    assert connection["metadata"] == json.loads(WHERE)
    assert "acme" in (await perdure("connections", "list", "--integration", "github")).out
    assert "github-public" in (await perdure("integrations", "list")).out
    assert (
        "Credentials    type NONE" in (await perdure("connections", "show", "github", "acme")).out
    )


async def test_mistakes_are_told_with_what_to_do(perdure: Perdure, github: HTTPServer) -> None:
    assert github
    wrong_key = await perdure("runs", "list", "--secret-key", "0" * 8)
    unknown = await perdure("syncs", "trigger", "github", "-c", "nobody")

    assert wrong_key.code == unknown.code == 1
    assert "hint: " in wrong_key.err
    assert "perdure connections list" in unknown.err


async def test_broken_project_is_refused_until_it_is_mended(perdure: Perdure) -> None:
    file = perdure.folder / "nango.yaml"
    good = file.read_text()
    file.write_text(good.replace("runs: every 1h", "runs: sometimes"))
    try:
        refused = await perdure("deploy")

        assert refused.code == 11
        assert "nango.yaml:" in refused.err
        assert "invalid_runs" in refused.err
        await says(perdure, "invalid_runs")
    finally:
        file.write_text(good)
    await says(perdure, "nothing changed since bundle")
    assert (await perdure("deploy")).code == 0
