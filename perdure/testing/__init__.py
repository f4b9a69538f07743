"""Tests of scripts without a server: recorded answers, a cache in memory, the engine's own rules.

`perdure dryrun ... --save` records a fixture, `perdure generate:tests` writes a test for it. In
such a test the pytest fixture `perdure_script` runs the script:

    def test_issues(perdure_script):
        perdure_script("issues").assert_as_recorded()

See `docs/testing.md`.
"""

from perdure.testing.answers import UnknownRequestError
from perdure.testing.fixture import Fixture, read_fixture
from perdure.testing.running import ScriptRun, run_script

__all__ = ["Fixture", "ScriptRun", "UnknownRequestError", "read_fixture", "run_script"]
