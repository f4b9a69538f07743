"""The pytest plugin: the fixture `perdure_script`. It is there wherever Perdure is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from perdure.testing.running import ScriptRun

__all__ = ["RunScript", "perdure_script"]

_CONFIG_FILE = "nango.yaml"

# So that pytest shows in what the records differ.
pytest.register_assert_rewrite("perdure.testing.running")


class RunScript(Protocol):
    """Runs a script of the project that the test belongs to."""

    def __call__(self, name: str, **changes: Any) -> ScriptRun:
        """Run a script with the fixture `<name>.test.json` beside the test.

        Args:
            name: Name of the script.
            **changes: As of `perdure.testing.run_script`.
        """


@pytest.fixture
def perdure_script(request: pytest.FixtureRequest) -> RunScript:
    """Run a script with what a dry run has recorded for it."""
    folder = request.path.parent
    project = next((p for p in folder.parents if (p / _CONFIG_FILE).is_file()), None)
    if project is None:
        pytest.fail(f"No folder above {folder} holds a {_CONFIG_FILE}", pytrace=False)
    integration = folder.parent.name

    def run(name: str, **changes: Any) -> ScriptRun:
        # Only here, so that runs of pytest that have nothing to do with Perdure stay fast.
        from perdure.testing.fixture import read_fixture
        from perdure.testing.running import run_script

        fixture = read_fixture(_fixture_file(folder, name))
        return run_script(
            project, fixture.script or name, fixture, integration=integration, **changes
        )

    return run


def _fixture_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.test.json"
