"""The scripts of a project: which it declares, where they lie, and which files they can reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import get_args

from config.problems import Path
from config.project import Action, Event, Integration, NangoConfig, Sync
from perdure.ids import BundleHash
from perdure.scripts.bundle import (
    CONFIG_FILE,
    MODELS_FILE,
    ScriptKind,
    ScriptPlaces,
    bundle_hash,
    new_script_path,
)
from perdure.scripts.loader import needed_files

__all__ = [
    "EMPTY_PROJECT",
    "EVENTS",
    "GENERATED",
    "EntryKind",
    "NamedScript",
    "Project",
    "Script",
    "ScriptKey",
    "event_names",
    "named_scripts",
    "reachable_files",
    "scripts_of",
]

EVENTS: tuple[Event, ...] = get_args(Event)
"""Events that scripts can be hung on."""

GENERATED = (CONFIG_FILE, MODELS_FILE)
"""Files that are looked at by what was parsed from them."""

_OLDER_EVENT: Event = "post-connection-creation"


class EntryKind(StrEnum):
    """Kinds of things that a project declares."""

    SYNC = "sync"
    ACTION = "action"
    ON_EVENT = "on-event"
    MODEL = "model"


ScriptKey = tuple[EntryKind, str, str]
"""Kind, integration and name."""


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
class NamedScript:
    """A script as an integration names it, whether anybody has written it or not.

    Attributes:
        kind: What it is.
        integration: Key of its integration.
        name: Its name.
        place: Where `nango.yaml` names it, below `integrations`.
        declared: What `nango.yaml` says about it; None of an event script, which has no more.
        event: What an event script runs on.
        is_older: Whether the older key `post-connection-scripts` names it.
    """

    kind: ScriptKind
    integration: str
    name: str
    place: Path
    declared: Sync | Action | None = None
    event: Event | None = None
    is_older: bool = False

    @property
    def key(self) -> ScriptKey:
        """What identifies it; of an event script the event, too."""
        match self.kind:
            case ScriptKind.SYNC:
                return EntryKind.SYNC, self.integration, self.name
            case ScriptKind.ACTION:
                return EntryKind.ACTION, self.integration, self.name
            case ScriptKind.ON_EVENT:
                return EntryKind.ON_EVENT, self.integration, f"{self.event}/{self.name}"

    def path(self, places: ScriptPlaces) -> str | None:
        """Return its file, None where nobody wrote it."""
        return places.find(self.integration, self.kind, self.name, older=self.is_older)

    @property
    def new_path(self) -> str:
        """Where it is to lie if nobody wrote it yet."""
        return new_script_path(self.integration, self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it is declared.

    Attributes:
        path: Its file, None where nobody wrote it.
        declared: What `nango.yaml` says about it; None of an event script, which has no more.
    """

    path: str | None
    declared: Sync | Action | None


def named_scripts(integration: Integration) -> Iterator[NamedScript]:
    """Yield the scripts that an integration names, in order; of events each one as often."""
    key = integration.key
    for sync in integration.syncs:
        place: Path = (key, "syncs", sync.name)
        yield NamedScript(ScriptKind.SYNC, key, sync.name, place, declared=sync)
    for action in integration.actions:
        place = (key, "actions", action.name)
        yield NamedScript(ScriptKind.ACTION, key, action.name, place, declared=action)
    for event in EVENTS:
        older = event == _OLDER_EVENT and not integration.on_events.post_connection_creation
        place = (key, "post-connection-scripts") if older else (key, "on-events", event)
        for index, name in enumerate(integration.event_scripts(event)):
            where = (*place, index)
            yield NamedScript(ScriptKind.ON_EVENT, key, name, where, event=event, is_older=older)


def scripts_of(project: Project, integrations: Iterable[Integration]) -> dict[ScriptKey, Script]:
    """Return the scripts that integrations of a project declare, in the order of the file."""
    places = ScriptPlaces(project.files)
    return {
        named.key: Script(named.path(places), named.declared)
        for integration in integrations
        for named in named_scripts(integration)
    }


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
