"""Files of tests in a project folder: what a dry run recorded, and a test that stands on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perdure.app.cli.errors import CliError
from perdure.scripts.bundle import ScriptKind

if TYPE_CHECKING:
    from config.project import NangoConfig

__all__ = ["write_fixture", "write_tests"]

_FOLDER = "tests"
_SYNC = '''"""Tests of {path} with what a dry run recorded."""


def test_{function}_saves_what_was_recorded(perdure_script):
    perdure_script({name!r}).assert_as_recorded()
'''
_ACTION = '''"""Tests of {path} with what a dry run recorded."""


def test_{function}_returns_what_was_recorded(perdure_script):
    perdure_script({name!r}).assert_as_recorded()
'''

_HOOK = '''"""Tests of {path} with what a dry run recorded."""


def test_{function}_does_with_what_was_recorded(perdure_script):
    perdure_script({name!r}).assert_as_recorded()
'''
_TEXTS = {ScriptKind.SYNC: _SYNC, ScriptKind.ACTION: _ACTION, ScriptKind.ON_EVENT: _HOOK}


def write_fixture(
    project: Path,
    started: Mapping[str, Any],
    wanted: Mapping[str, Any],
    recorded: Mapping[str, Any],
) -> Path:
    """Write what a dry run recorded, over what an earlier one of the same script has.

    Args:
        project: The project folder.
        started: The server's answer to the start of the dry run.
        wanted: What the dry run was started with.
        recorded: Its fixture.

    Raises:
        CliError: `fixture_of_other_script`: the file belongs to another script of the same name.
    """
    path: Path = project / started["integration"] / _FOLDER / f"{started['script']}.test.json"
    told = dict(recorded["nango"])
    if wanted["checkpoint"] is not None:
        told["getCheckpoint"] = wanted["checkpoint"]
    if wanted["last_sync_date"] is not None:
        told["lastSyncDate"] = wanted["last_sync_date"]
    if wanted["variant"] != "base":
        told["variant"] = wanted["variant"]
    if wanted["metadata"] is not None:
        # The script may have set others meanwhile.
        told["getMetadata"] = wanted["metadata"]
    fixture: dict[str, Any] = {"script": started["path"]}
    if started["kind"] == "action":
        fixture |= {"input": wanted["input"], "output": recorded.get("output")}
    fixture |= {"nango": told, "api": recorded["api"]}
    _refuse_other_script(path, started["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{json.dumps(fixture, indent=2, ensure_ascii=False)}\n", "utf-8")
    return path


def write_tests(project: Path, config: NangoConfig, integration: str | None) -> Iterator[Path]:
    """Write a test for each script that has a fixture and no test, and yield its path.

    Args:
        project: The project folder.
        config: Its parsed `nango.yaml`.
        integration: Only of this integration.
    """
    from config.script_lookup import scripts_of_integration
    from perdure.scripts.bundle import ScriptPlaces, project_files

    places = ScriptPlaces(project_files(project))
    for item in config.integrations:
        if integration is not None and item.key != integration:
            continue
        for script in scripts_of_integration(item, places):
            name = script.name
            folder = project / item.key / _FOLDER
            function = re.sub(r"\W", "_", name)
            path = folder / f"test_{function}.py"
            if not (folder / f"{name}.test.json").is_file() or path.exists():
                continue
            text = _TEXTS[script.kind]
            path.write_text(text.format(path=script.path, function=function, name=name), "utf-8")
            yield path


def _refuse_other_script(path: Path, script: str) -> None:
    try:
        other = json.loads(path.read_text("utf-8")).get("script")
    except (OSError, ValueError, AttributeError):
        return
    if other is not None and other != script:
        msg = f"{path} is the fixture of {other}, which has the same name as {script}"
        raise CliError(msg, code="fixture_of_other_script", hint="rename one of the two scripts")
