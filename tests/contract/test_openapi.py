"""The API keeps to its own description, whatever it is sent."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from perdure.db.connections import Connection
from tests.support.stack import Stack

ENDLESS = r"/records/stream$"


@pytest.mark.timeout(600)
async def test_no_request_gets_an_undeclared_answer_or_a_server_error(
    address: str, stack: Stack, connection: Connection, tmp_path: Path
) -> None:
    assert connection
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("st"),
        "run",
        f"{address}/openapi.json",
        "--header",
        f"Authorization: Bearer {stack.secret_key}",
        "--checks",
        "not_a_server_error,status_code_conformance",
        "--exclude-path-regex",
        ENDLESS,
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "5",
        "--seed",
        "1",
        "--continue-on-failure",
        "--request-timeout",
        "60",
        "--suppress-health-check",
        "all",
        "--no-color",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()

    text = told.decode()
    assert process.returncode == 0, text
    tested = re.search(r"Tested:\s+(\d+)", text)
    assert tested, text
    assert int(tested.group(1)) > 40
