"""The scripts of a project: which it declares, where they lie, and which files they can reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import get_args

from config.project import Action, Event, Integration, NangoConfig, Sync
from perdure.errors import NotFoundError
from perdure.ids import BundleHash
from perdure.scripts.bundle import (
    CONFIG_FILE,
    MODELS_FILE,
    ScriptKind,
    bundle_hash,
    script_path,
)
from perdure.scripts.loader import needed_files

__all__ = [
    "EMPTY_PROJECT",
    "EVENTS",
    "GENERATED",
    "EntryKind",
    "Project",
    "Script",
    "ScriptKey",
    "event_names",
    "reachable_files",
    "scripts_of",
]

EVENTS: tuple[Event, ...] = get_args(Event)
"""Events that scripts can be hung on."""

GENERATED = (CONFIG_FILE, MODELS_FILE)
"""Files that are looked at by what was parsed from them."""

_LEGACY_EVENT: Event = "post-connection-creation"


class EntryKind(StrEnum):
    """Kinds of things that a project declares."""

    SYNC = "sync"
    ACTION = "action"
    ON_EVENT = "on-event"
    MODEL = "model"


@dataclass(frozen=True)
class Project:
    """A project as it is deployed.

    Attributes:
        files: Every file, `models.py` as generated.
        config: The parsed `nango.yaml`.
    """

    files: Mapping[str, str]
    config: NangoConfig

    @cached_property
    def hash(self) -> BundleHash:
        """Content hash of its bundle."""
        return bundle_hash(self.files, self.config.to_json())


EMPTY_PROJECT = Project({}, NangoConfig("v2", (), ()))
"""What is there before the first deploy."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it is declared.

    Attributes:
        path: Its file, None where nobody wrote it.
        declared: What `nango.yaml` says about it; None of an event script, which has no more.
    """

    path: str | None
    declared: Sync | Action | None


ScriptKey = tuple[EntryKind, str, str]
"""Kind, integration and name."""


def scripts_of(project: Project, integrations: Iterable[Integration]) -> dict[ScriptKey, Script]:
    """Return the scripts that integrations of a project declare, in the order of the file."""
    found: dict[ScriptKey, Script] = {}
    for integration in integrations:
        key = integration.key
        for sync in integration.syncs:
            path = _path(project, key, ScriptKind.SYNC, sync.name)
            found[EntryKind.SYNC, key, sync.name] = Script(path, sync)
        for action in integration.actions:
            path = _path(project, key, ScriptKind.ACTION, action.name)
            found[EntryKind.ACTION, key, action.name] = Script(path, action)
        for event, name, path in _event_scripts(project, integration):
            found[EntryKind.ON_EVENT, key, f"{event}/{name}"] = Script(path, None)
    return found


def reachable_files(files: Mapping[str, str], paths: Iterable[str | None]) -> set[str]:
    """Return the files that scripts can reach by their imports, without the generated ones.

    Args:
        files: All files of a project.
        paths: Where the scripts are; None is passed over.
    """
    written = {path: text for path, text in files.items() if path not in GENERATED}
    reached: set[str] = set()
    for path in paths:
        if path is not None and path not in reached:
            try:
                reached |= needed_files(written, path).keys()
            except SyntaxError:
                # There is no telling what it imports.
                return set(written)
    return reached


def event_names(integration: Integration | None, event: Event) -> Sequence[str]:
    """Return the names of the scripts that run on an event, in order, each once."""
    return list(dict.fromkeys(integration.event_scripts(event))) if integration else ()


def _event_scripts(
    project: Project, integration: Integration
) -> Iterator[tuple[Event, str, str | None]]:
    for event in EVENTS:
        legacy = event == _LEGACY_EVENT and not integration.on_events.post_connection_creation
        for name in event_names(integration, event):
            path = f"{integration.key}/post-connection-scripts/{name}.py"
            if not legacy or path not in project.files:
                yield event, name, _path(project, integration.key, ScriptKind.ON_EVENT, name)
            else:
                yield event, name, path


def _path(project: Project, integration: str, kind: ScriptKind, name: str) -> str | None:
    try:
        return script_path(project.files, integration, kind, name)
    except NotFoundError:
        return None
