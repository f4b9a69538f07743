"""What a deploy will change, before it changes anything.

A plan compares two projects by what they declare and by the files their scripts can reach, so what
makes no difference to a run stands in no plan. What is renamed is removed under one name and added
under the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Literal

from config.project import Endpoint, Field, Model, NangoConfig, Sync
from config.record_fates import RecordFate, record_fates
from config.scripts import (
    EVENTS,
    GENERATED,
    EntryKind,
    Project,
    Script,
    ScriptKey,
    event_names,
    reachable_files,
    scripts_of,
)
from config.type_grammar import format_type

__all__ = ["Change", "DeployPlan", "Difference", "PlanEntry", "plan"]

_NOT_COMPARED = ("name", "interval", "used_models")


class Change(StrEnum):
    """What becomes of a thing."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is different about something that is there before and after.

    Attributes:
        what: Which part: the `schedule` of a sync, a file its `script` can reach, a `model` it
            uses, its `output`, another `setting`; a `field` of a model; the `records` of a model
            that a sync saves no longer.
        name: The key of `nango.yaml`, the path of the file, or the name of model or field.
        old: What it was, None for nothing; of a file the beginning of its hash; of records the
            sync that saved them.
        new: What it is to be; of records the sync that they stay for, None where they are erased.
            Both are None for a model, which has an entry of its own.
    """

    what: Literal["schedule", "script", "model", "output", "setting", "field", "records"]
    name: str
    old: str | None = None
    new: str | None = None


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """What becomes of one sync, action, event script or model.

    Attributes:
        kind: What it is.
        integration: Key of its integration, None for a model.
        name: Its name; of an event script `<event>/<name>`.
        change: What becomes of it.
        differences: In what it changes; of a new sync when it runs and what it saves.
        destructive: Whether a sync, an action or an event script goes, or records are erased.
        records_of: By integration the models whose records it erases or, where it erases none,
            those whose records it touches.
    """

    kind: EntryKind
    integration: str | None
    name: str
    change: Change
    differences: tuple[Difference, ...] = ()
    destructive: bool = False
    records_of: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """All that a deploy will change: scripts by integration as in the file, then models."""

    entries: tuple[PlanEntry, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no run would notice the deploy."""
        return not self.entries

    @property
    def destructive(self) -> bool:
        """Whether somebody has to agree."""
        return any(entry.destructive for entry in self.entries)

    def count(self, change: Change) -> int:
        """Return how many things become so."""
        return sum(entry.change is change for entry in self.entries)


def plan(current: Project, desired: Project) -> DeployPlan:
    """Return what changes when `desired` takes the place of `current`."""
    models = _ModelChanges(current.config, desired.config)
    return DeployPlan((*_script_entries(current, desired, models), *models.entries()))


def _script_entries(
    current: Project, desired: Project, models: _ModelChanges
) -> Iterator[PlanEntry]:
    before = scripts_of(current, current.config.integrations)
    after = scripts_of(desired, desired.config.integrations)
    fates = _Fates(current.config, desired.config)
    files = _FileChanges(current.files, desired.files)
    moved = _moved_events(current.config, desired.config)
    order = {key: place for place, key in enumerate({key: None for _, key, _ in (*after, *before)})}
    # Stable: within an integration what is there after stands before what is removed.
    for key in sorted({**after, **before}, key=lambda key: order[key[1]]):
        old, new = before.get(key), after.get(key)
        kind, integration, name = key
        if old is None:
            yield PlanEntry(kind, integration, name, Change.ADDED, _first_differences(new))
        elif new is None:
            yield PlanEntry(
                kind,
                integration,
                name,
                Change.REMOVED,
                fates.differences(key),
                destructive=True,
                records_of=fates.erased(key),
            )
        else:
            differences = [
                *_declared_differences(old, new),
                *moved.get((integration, name), ()),
                *files.differences(old, new),
                *models.differences(old, new),
                *fates.differences(key),
            ]
            if differences:
                erased = fates.erased(key)
                yield PlanEntry(
                    kind,
                    integration,
                    name,
                    Change.CHANGED,
                    tuple(differences),
                    destructive=bool(erased),
                    records_of=erased or tuple((integration, model) for model in _outputs(old)),
                )


def _first_differences(script: Script | None) -> tuple[Difference, ...]:
    """Return what is to be known of a new script: when a sync runs, and what it saves."""
    if script is None or not isinstance(script.declared, Sync):
        return ()
    return (
        Difference("schedule", "runs", None, _text(script.declared.runs)),
        Difference("output", "output", None, _text(script.declared.output)),
    )


class _Fates:
    """What becomes of the records of models that a sync saves no longer."""

    def __init__(self, current: NangoConfig, desired: NangoConfig) -> None:
        self._of: dict[ScriptKey, list[RecordFate]] = {}
        for fate in record_fates(current, desired):
            key = (EntryKind.SYNC, fate.integration, fate.sync)
            self._of.setdefault(key, []).append(fate)

    def differences(self, key: ScriptKey) -> tuple[Difference, ...]:
        return tuple(
            Difference("records", fate.model, fate.sync, fate.keeper)
            for fate in self._of.get(key, ())
        )

    def erased(self, key: ScriptKey) -> tuple[tuple[str, str], ...]:
        fates = self._of.get(key, ())
        return tuple((fate.integration, fate.model) for fate in fates if fate.keeper is None)


def _outputs(script: Script) -> tuple[str, ...]:
    """Return the models of the records that a script saves."""
    return script.declared.output if isinstance(script.declared, Sync) else ()


def _declared_differences(old: Script, new: Script) -> Iterator[Difference]:
    if old.declared is None or new.declared is None:
        return
    for field in fields(old.declared):
        if field.name in _NOT_COMPARED:
            continue
        texts = [_text(getattr(side.declared, field.name)) for side in (old, new)]
        if texts[0] == texts[1]:
            continue
        match field.name:
            case "runs":
                yield Difference("schedule", field.name, *texts)
            case "output":
                yield Difference("output", field.name, *texts)
            case name:
                yield Difference("setting", name, *texts)


def _text(value: object) -> str | None:
    match value:
        case None | "" | ():
            return None
        case bool():
            return str(value).lower()
        case tuple():
            return ", ".join(_text(item) or "" for item in value)
        case Endpoint(method=method, path=path, group=group):
            return f"{method} {path}" + (f" ({group})" if group else "")
        case _:
            return str(value)


class _FileChanges:
    """Which files differ, and which scripts notice."""

    def __init__(self, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        self._old, self._new = old, new
        self._changed = {
            path
            for path in old.keys() | new.keys()
            if path not in GENERATED and old.get(path) != new.get(path)
        }

    def differences(self, old: Script, new: Script) -> Iterator[Difference]:
        if not self._changed:
            return
        reached = reachable_files(self._old, [old.path]) | reachable_files(self._new, [new.path])
        for path in sorted(reached & self._changed):
            yield Difference("script", path, _digest(self._old, path), _digest(self._new, path))


def _digest(files: Mapping[str, str], path: str) -> str | None:
    text = files.get(path)
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()[:12]


class _ModelChanges:
    """Which models differ, and which scripts notice."""

    def __init__(self, old: NangoConfig, new: NangoConfig) -> None:
        self._old = {model.name: model for model in old.models}
        self._new = {model.name: model for model in new.models}
        self._changed = {
            name: differences
            for name in self._old.keys() & self._new.keys()
            if (differences := _field_differences(self._old[name], self._new[name]))
        }
        self._used_in = {
            name: tuple(
                (integration.key, name)
                for integration in old.integrations
                if any(name in sync.output for sync in integration.syncs)
            )
            for name in self._old
        }

    def differences(self, old: Script, new: Script) -> Iterator[Difference]:
        if old.declared is None or new.declared is None:
            return
        used = set(old.declared.used_models) & set(new.declared.used_models)
        for name in sorted(used & self._changed.keys()):
            yield Difference("model", name)

    def entries(self) -> Iterator[PlanEntry]:
        for name in {**self._new, **self._old}:
            old, new = self._old.get(name), self._new.get(name)
            if (new or old or _NAMELESS).is_anonymous:
                continue
            touched = self._used_in.get(name, ())
            if old is None:
                yield PlanEntry(EntryKind.MODEL, None, name, Change.ADDED)
            elif new is None:
                yield PlanEntry(EntryKind.MODEL, None, name, Change.REMOVED, records_of=touched)
            elif name in self._changed:
                yield PlanEntry(
                    EntryKind.MODEL,
                    None,
                    name,
                    Change.CHANGED,
                    self._changed[name],
                    records_of=touched,
                )


_NAMELESS = Model("", (), is_anonymous=True)


def _field_differences(old: Model, new: Model) -> tuple[Difference, ...]:
    before = {(field.name, field.dynamic): field for field in old.fields}
    after = {(field.name, field.dynamic): field for field in new.fields}
    differences = []
    for key in {**after, **before}:
        texts = [_field_text(side.get(key)) for side in (before, after)]
        # Equal texts may stand for different types: a model, and a word of the same spelling.
        if texts[0] != texts[1] or before[key] != after[key]:
            name = "__string" if key[1] else key[0]
            differences.append(Difference("field", name, *texts))
    return tuple(differences)


def _field_text(field: Field | None) -> str | None:
    if field is None:
        return None
    return format_type(field.type) + (", optional" if field.optional else "")


def _moved_events(
    current: NangoConfig, desired: NangoConfig
) -> dict[tuple[str, str], list[Difference]]:
    """Find event scripts that stay but run at another point among those that stay."""
    moved: dict[tuple[str, str], list[Difference]] = {}
    for new in desired.integrations:
        old = current.integration(new.key)
        for event in EVENTS if old else ():
            before = event_names(old, event)
            after = event_names(new, event)
            old_order = [name for name in before if name in after]
            new_order = [name for name in after if name in before]
            for name in new_order:
                places = old_order.index(name), new_order.index(name)
                if places[0] != places[1]:
                    texts = [f"number {place + 1}" for place in places]
                    difference = Difference("setting", "order", *texts)
                    moved[new.key, f"{event}/{name}"] = [difference]
    return moved
