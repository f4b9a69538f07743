"""A worker's sign of life outlasts a disk that takes nothing for a while."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from perdure.app import sign_of_life
from perdure.errors import StartupError
from tests.support.deploys import eventually


async def test_sign_of_life_goes_on_after_a_beat_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_of_life, "_EVERY", 0.01)
    file = tmp_path / "run" / "ready"
    file.parent.mkdir()

    async def has_failed() -> bool:
        return bool(logs)

    async def is_there() -> bool:
        return file.exists()

    with capture_logs() as logs:
        async with sign_of_life.signs_of_life(file):
            file.unlink()
            file.parent.rmdir()
            await eventually(has_failed)
            file.parent.mkdir()
            await eventually(is_there)

    assert not file.exists()
    assert logs[0]["event"] == "sign_of_life_failed"
    assert logs[0]["file"] == str(file)


async def test_file_that_cannot_be_written_is_a_start_up_error(tmp_path: Path) -> None:
    file = tmp_path / "missing" / "ready"

    with pytest.raises(StartupError, match="PERDURE_READY_FILE") as refused:
        async with sign_of_life.signs_of_life(file):
            pass

    assert (refused.value.code, str(file) in refused.value.message) == (
        "ready_file_unwritable",
        True,
    )
