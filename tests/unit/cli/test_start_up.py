"""The command starts quickly, and its help is complete."""

from __future__ import annotations

import subprocess
import sys

import pytest

from perdure import __version__
from tests.unit.cli.calls import Run

HEAVY = ("asyncpg", "fastapi", "httpx", "pydantic", "sqlalchemy", "temporalio", "uvicorn")


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from perdure.app.cli.main import app; app.meta(['--help'], "
        f"result_action='return_value'); print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )

    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_module_and_command_are_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "perdure", "--version"], check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stdout.strip()) == (0, __version__)


@pytest.mark.parametrize(
    "command",
    [
        *("init", "dev", "deploy", "generate", "migrate", "api", "worker"),
        *("config check", "keys new"),
        *("integrations create", "integrations list"),
        *("connections create", "connections list", "connections get", "connections delete"),
        *("connections change", "connections connect-link", "connections metadata"),
        *("syncs status", "syncs trigger", "syncs pause", "syncs start"),
        *("records list", "actions trigger", "runs list", "runs show"),
    ],
)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")

    assert result.code == 0
    usage, *explanation = result.out.strip().splitlines()
    assert usage.startswith(f"Usage: perdure {command}")
    assert explanation[1].strip(), "no sentence about it"


def test_new_keys_make_a_key_ring(run: Run) -> None:
    from perdure.crypto.keyring import KeyRing

    first, second = run("keys", "new").out.strip(), run("keys", "new").out.strip()

    assert len(KeyRing.parse(f"{first},{second}").key_ids) == 2
