"""What workflow code may not do is told; what runs as a step is left alone."""

from __future__ import annotations

import pytest

from perdure.scripts.lint import LintCode
from tests.unit.scripts.lints import SYNC, lint, lint_sync, said, sync

IMPORTS = """\
import asyncio, concurrent.futures, datetime, glob, io, os, random, secrets, socket, subprocess
import threading, time, urllib.parse, urllib.request, uuid
import httpx, requests
import numpy as np
from asyncio import to_thread
from pathlib import Path
from time import sleep
async def fetch_data(nango):
    {call}
"""

IMPURE = {
    "requests.get('http://x')": "requests.get",
    "httpx.AsyncClient()": "httpx.AsyncClient",
    "urllib.request.urlopen('http://x')": "urllib.request.urlopen",
    "socket.create_connection(('x', 1))": "socket.create_connection",
    "open('x')": "open",
    "io.open('x')": "io.open",
    "Path('x').read_text()": "pathlib.Path.read_text",
    "Path('x').open()": "pathlib.Path.open",
    "(Path('x') / 'y').write_bytes(b'')": "pathlib.Path.write_bytes",
    "Path.cwd()": "pathlib.Path.cwd",
    "glob.glob('*')": "glob.glob",
    "os.listdir('.')": "os.listdir",
    "os.path.exists('x')": "os.path.exists",
    "os.environ['X']": "os.environ",
    "os.environ.get('X')": "os.environ",
    "os.getenv('X')": "os.getenv",
    "time.sleep(1)": "time.sleep",
    "sleep(1)": "time.sleep",
    "threading.Thread(target=print).start()": "threading.Thread",
    "concurrent.futures.ThreadPoolExecutor()": "concurrent.futures.ThreadPoolExecutor",
    "subprocess.run(['x'])": "subprocess.run",
    "await asyncio.to_thread(print)": "asyncio.to_thread",
    "await to_thread(print)": "asyncio.to_thread",
    "await asyncio.get_running_loop().run_in_executor(None, print)": "run_in_executor",
    "secrets.token_hex()": "secrets.token_hex",
    "random.SystemRandom()": "random.SystemRandom",
    "np.random.rand()": "numpy.random.rand",
}

PURE = [
    "datetime.datetime.now()",
    "time.time()",
    "random.random()",
    "uuid.uuid4()",
    "urllib.parse.quote('x')",
    "os.path.join('a', 'b')",
    "Path('x') / 'y'",
    "await asyncio.sleep(1)",
    "'open'.replace('o', 'p')",
    "requests = []; requests.append(1)",
    "[time.sleep for time in []]",
    "open = print; open('x')",
]


@pytest.mark.parametrize("call", IMPURE)
def test_what_a_replay_cannot_repeat_is_told_with_a_remedy(call: str) -> None:
    [found] = lint_sync(IMPORTS.format(call=call))

    assert (found.code, found.line, found.severity) == (LintCode.FORBIDDEN, 9, "warning")
    assert found.message == (f"Workflow code cannot use {IMPURE[call]}: it could not be replayed.")
    assert "nango.run" in (found.hint or "")


@pytest.mark.parametrize("call", PURE)
def test_what_is_deterministic_passes(call: str) -> None:
    assert lint_sync(IMPORTS.format(call=call)) == []


def test_remedy_is_that_of_the_run() -> None:
    [found] = lint_sync(IMPORTS.format(call="time.sleep(1)"))

    assert found.hint is not None
    assert found.hint.startswith("use `await asyncio.sleep(seconds)`, a durable timer")


STEPS = """
import requests
from shared import steps
from shared.steps import download as fetch

def read(path):
    return open(path).read()

def both(path):
    return open(path).read()

async def fetch_data(nango):
    await nango.run(read, "x")
    await nango.run(fn=fetch)
    await nango.run(steps.upload, "x")
    await nango.run(both, "x")
    both("x")
"""
SHARED = """
import requests

def download():
    return helper()

def helper():
    return requests.get("http://x")

def upload(path):
    requests.post(path)
"""


def test_steps_may_do_what_they_like_unless_they_are_called_as_well() -> None:
    findings = lint_sync(STEPS, **{"shared/steps.py": SHARED})

    assert [(found.path, found.line) for found in findings] == [(SYNC, 10)]


REACHED = """
import acme.syncs.other
from .mapping import to_issue, HANDLERS
from shared.client import Client

async def fetch_data(nango):
    sorted([], key=by_size)
    HANDLERS["x"]()
    to_issue({})
    Client().get()

def by_size(x):
    open("1")

def never():
    open("2")

if __name__ == "__main__":
    open("3")
"""


def test_code_is_followed_through_the_whole_project() -> None:
    files = {
        SYNC: REACHED,
        "acme/syncs/other.py": "open('at import')\ndef f():\n    open('no')\n",
        "acme/syncs/mapping.py": (
            "from shared.deep import to_issue\n"
            "def handle():\n    open('by a table')\n"
            "HANDLERS = {'x': handle}\n"
        ),
        "shared/__init__.py": "open('of the package')\n",
        "shared/deep.py": "def to_issue(raw):\n    open('re-exported')\n",
        "shared/client.py": (
            "class Client:\n    def get(self):\n        open('in a method')\n"
            "    def a(self):\n        def b(): open('inside')\n        b()\n"
        ),
        "shared/unused.py": "open('never imported')\n",
    }
    found = {(one.path, one.line) for one in lint(files, sync())}

    assert found == {
        (SYNC, 13),
        ("acme/syncs/other.py", 1),
        ("acme/syncs/mapping.py", 3),
        ("shared/__init__.py", 1),
        ("shared/deep.py", 2),
        ("shared/client.py", 3),
        ("shared/client.py", 5),
    }


def test_folder_with_dashes_is_imported_with_underscores() -> None:
    files = {
        SYNC: "from my_shared.x import f\nasync def fetch_data(nango):\n    f()\n",
        "my-shared/x.py": "def f():\n    open('x')\n",
    }
    assert said(lint(files, sync())) == [(LintCode.FORBIDDEN, 2)]


def test_modules_that_import_each_other_are_fine() -> None:
    files = {
        SYNC: "from a import f\nasync def fetch_data(nango):\n    f()\n",
        "a.py": "from b import f\n",
        "b.py": "from a import f\n",
    }
    assert lint(files, sync()) == []


def test_imports_for_type_checkers_are_not_followed() -> None:
    text = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import heavy\n"
        "async def fetch_data(nango: 'heavy.X') -> 'heavy.Y':\n    x: heavy.open() = 1\n"
    )
    assert lint_sync(text, **{"heavy.py": "open('x')\n"}) == []


def test_code_that_two_scripts_reach_is_told_once() -> None:
    text = "from shared import f\nasync def fetch_data(nango):\n    f()\n"
    files = {SYNC: text, "acme/syncs/users.py": text, "shared.py": "def f():\n    open('x')\n"}

    assert len(lint(files, sync(), sync("acme/syncs/users.py"))) == 1
