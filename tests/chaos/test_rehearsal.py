"""Nothing is lost where a cluster is deployed anew, killed and cut off: `make rehearsal`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_nothing_is_lost_while_a_cluster_is_deployed_anew_killed_and_cut_off(
    tmp_path: Path,
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rehearsal", "--folder", str(tmp_path / "rehearsal")),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()

    assert process.returncode == 0, told.decode()
