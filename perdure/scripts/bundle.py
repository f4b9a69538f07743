"""An immutable set of scripts, models and parsed configuration, addressed by its content.

A deploy makes one, runs are pinned to one, and workers load them by hash. The hash covers every
byte that can change what a run does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from perdure.errors import InvalidInputError, NotFoundError
from perdure.ids import BundleHash

__all__ = [
    "CONFIG_FILE",
    "MODELS_FILE",
    "Bundle",
    "ScriptKind",
    "ScriptPlaces",
    "bundle_hash",
    "new_script_path",
    "project_files",
    "script_path",
]

CONFIG_FILE = "nango.yaml"
MODELS_FILE = "models.py"

_OLDER_FOLDER = "post-connection-scripts"
_MAX_FILE_BYTES = 2 * 1024 * 1024
_MAX_FILES = 5_000
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "venv", "dist", "build", "tests"})


class ScriptKind(StrEnum):
    """Kinds of scripts; the value is the folder they lie in."""

    SYNC = "syncs"
    ACTION = "actions"
    ON_EVENT = "on-events"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Scripts and models that were deployed together, or those of them that one script needs.

    Attributes:
        hash: Content hash of the whole deployed bundle.
        files: Source by path below the project folder, with forward slashes. `models.py` is
            the generated one, whatever lay in the folder.
    """

    hash: BundleHash
    files: Mapping[str, str]


def bundle_hash(files: Mapping[str, str], config: Mapping[str, Any]) -> BundleHash:
    """Return the content hash of a bundle: SHA-256 over its files and parsed configuration."""
    content = orjson.dumps(
        {"files": dict(files), "config": dict(config)}, option=orjson.OPT_SORT_KEYS
    )
    return BundleHash(hashlib.sha256(content).hexdigest())


def project_files(project: Path) -> dict[str, str]:
    """Read what a deploy sends: `nango.yaml` and every Python file of the project.

    Hidden folders, virtual environments, caches and `tests` are left out, and so is the
    generated `models.py`, which the server makes anew.

    Raises:
        InvalidInputError: The folder has no `nango.yaml`, or a file is too large or not UTF-8.
    """
    if not (project / CONFIG_FILE).is_file():
        msg = f"No {CONFIG_FILE} in {project}. `perdure init {project}` writes one to start from."
        raise InvalidInputError(msg, code="project_not_found")
    files = {CONFIG_FILE: _read(project, project / CONFIG_FILE)}
    for path in sorted(_python_files(project)):
        name = path.relative_to(project).as_posix()
        if name != MODELS_FILE:
            files[name] = _read(project, path)
        if len(files) > _MAX_FILES:
            msg = f"{project} holds more than {_MAX_FILES:,} Python files; is it a project folder?"
            raise InvalidInputError(msg, code="project_too_large")
    return files


def _python_files(folder: Path) -> Iterable[Path]:
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if entry.name not in _SKIPPED_FOLDERS and not (entry / "pyvenv.cfg").exists():
                yield from _python_files(entry)
        elif entry.suffix == ".py":
            yield entry


def _read(project: Path, path: Path) -> str:
    name = path.relative_to(project).as_posix()
    data = path.read_bytes()
    if len(data) > _MAX_FILE_BYTES:
        msg = f"{name} is larger than {_MAX_FILE_BYTES // 1024 // 1024} MB"
        raise InvalidInputError(msg, code="file_too_large")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{name} is not UTF-8: {error.reason} at byte {error.start}"
        raise InvalidInputError(msg, code="file_not_utf8") from error


class ScriptPlaces:
    """Where the scripts of a project lie: `<integration>/<kind>/<name>.py`.

    A dash in a path is as good as an underscore, unless there are files of both spellings. What
    is named by the older key `post-connection-scripts` may lie in a folder of that name instead.

    Args:
        files: Paths of all files of the project.
    """

    def __init__(self, files: Collection[str]) -> None:
        self._files = files

    def find(
        self, integration: str, kind: ScriptKind, name: str, *, older: bool = False
    ) -> str | None:
        """Return the path of a script, None where nobody has written it.

        Args:
            integration: Key of its integration.
            kind: What it is.
            name: Its name.
            older: Whether the older key names it.
        """
        folders = (_OLDER_FOLDER, kind.value) if older else (kind.value,)
        for folder in folders:
            wanted = _in_folder(integration, folder, name)
            found = wanted if wanted in self._files else self._by_plain.get(_plain(wanted))
            if found is not None:
                return found
        return None

    @cached_property
    def _by_plain(self) -> Mapping[str, str]:
        by_plain: dict[str, str] = {}
        for path in self._files:
            by_plain.setdefault(_plain(path), path)
        return by_plain


def new_script_path(integration: str, kind: ScriptKind, name: str) -> str:
    """Return where a script that nobody has written yet is to lie."""
    return _in_folder(integration, kind.value, name)


def script_path(
    files: Mapping[str, str], integration: str, kind: ScriptKind, name: str, *, older: bool = False
) -> str:
    """Find the file of a script; the arguments are those of `ScriptPlaces.find`.

    Raises:
        NotFoundError: No such file; the message names the path that was expected.
    """
    found = ScriptPlaces(files).find(integration, kind, name, older=older)
    if found is None:
        wanted = new_script_path(integration, kind, name)
        msg = (
            f"The script {wanted} does not exist. Create it, or remove {name!r} from {CONFIG_FILE}."
        )
        raise NotFoundError(msg, code="script_not_found")
    return found


def _in_folder(integration: str, folder: str, name: str) -> str:
    return PurePosixPath(integration, folder, f"{name}.py").as_posix()


def _plain(path: str) -> str:
    return path.replace("-", "_")
