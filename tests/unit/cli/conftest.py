"""The command line in this process, and servers for it to speak to."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from perdure.app.cli.main import app
from tests.unit.cli.calls import KEY, Result, Run


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an environment that names no server."""
    monkeypatch.chdir(tmp_path)
    for name in ("NANGO_HOSTPORT", "NANGO_SECRET_KEY_DEV", "NANGO_SECRET_KEY_PROD"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def run(elsewhere: Path) -> Iterator[Run]:
    """Run a command; in a thread of its own, where no event loop is in its way."""

    def call(*arguments: str) -> Result:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = app.meta(arguments, result_action="return_value")
            except SystemExit as ended:
                code = ended.code
        return Result(int(code or 0), out.getvalue(), err.getvalue())

    with ThreadPoolExecutor(1) as thread:
        yield lambda *arguments: thread.submit(call, *arguments).result()


@pytest.fixture
def server(httpserver: HTTPServer, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    """A server that commands speak to by themselves."""
    monkeypatch.setenv("NANGO_HOSTPORT", httpserver.url_for("").rstrip("/"))
    monkeypatch.setenv("NANGO_SECRET_KEY_DEV", KEY)
    return httpserver
