"""Deploys of a part of a project: everything else stays as it is deployed.

What the part shares with other scripts, a module or a model, changes for those too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from config.models_py import generate_models_py
from config.plan import DeployPlan
from config.project import Action, Integration, Model, NangoConfig, Sync, references
from config.scripts import EntryKind, Project, ScriptKey, reachable_files, scripts_of
from perdure.errors import InvalidInputError
from perdure.scripts.bundle import CONFIG_FILE, MODELS_FILE

__all__ = ["Target", "narrowed", "resolved", "touched_outside"]

ScriptT = TypeVar("ScriptT", Sync, Action)


@dataclass(frozen=True, slots=True)
class Target:
    """Which part of a project is meant; without any of the three, all of it.

    Attributes:
        integration: Key of an integration. With a sync or an action it says whose.
        sync: Name of a sync.
        action: Name of an action, never together with a sync.
    """

    integration: str | None = None
    sync: str | None = None
    action: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the whole project is meant."""
        return self == Target()

    def covers(self, key: ScriptKey) -> bool:
        """Say whether a script is part of it."""
        kind, integration, name = key
        if self.integration is not None and integration != self.integration:
            return False
        if self.sync is not None:
            return (kind, name) == (EntryKind.SYNC, self.sync)
        if self.action is not None:
            return (kind, name) == (EntryKind.ACTION, self.action)
        return True


def touched_outside(changes: DeployPlan, target: Target) -> list[str]:
    """Return the scripts outside a target that change with it, because they share something."""
    return [
        f"{entry.integration}/{entry.name}"
        for entry in changes.entries
        if entry.integration is not None
        and not target.covers((entry.kind, entry.integration, entry.name))
    ]


def resolved(current: Project, desired: Project, target: Target) -> Target:
    """Return a target that says of which integration it is.

    Raises:
        InvalidInputError: `unknown_target` or `ambiguous_target`.
    """
    wanted = _integration(current, desired, target)
    return target if wanted is None else replace(target, integration=wanted.key)


def narrowed(current: Project, desired: Project, target: Target) -> Project:
    """Return what is deployed, with only the target taken from another project.

    A target that is an integration may lose scripts; one that is a sync or an action takes
    nothing away. Models are shared by all: those that the target uses are replaced or added, none
    is removed. The text of `nango.yaml` stays that of the last whole deploy; its parsed form, by
    which everything runs, is the narrowed one.

    Args:
        current: What is deployed.
        desired: The project that holds the target.
        target: What is to be deployed.

    Raises:
        InvalidInputError: `unknown_target`, `ambiguous_target`, or the target does not go with
            what stays: `duplicate_model`, `duplicate_endpoint`.
    """
    if target.is_whole:
        return desired
    wanted = _integration(current, desired, target)
    used = {
        name
        for scripts in ((wanted.syncs, wanted.actions) if wanted else ())
        for script in scripts
        for name in script.used_models
    }
    key = wanted.key if wanted else target.integration or ""
    deployed = current.config.integration(key)
    part = target.sync is not None or target.action is not None
    merged = _with_scripts(deployed or Integration(key), wanted) if part and wanted else wanted
    integrations = {item.key: item for item in current.config.integrations}
    if merged is None:
        integrations.pop(key)
    else:
        _refuse_duplicates(merged)
        integrations[key] = merged
    models = {model.name: model for model in current.config.models}
    models |= {model.name: model for model in desired.config.models if model.name in used}
    ordered = sorted(models.values(), key=lambda model: model.is_anonymous)
    config = NangoConfig(
        version=desired.config.version,
        integrations=tuple(_with_used_models(item, models) for item in integrations.values()),
        models=tuple(ordered),
    )
    files = _files(current, desired, wanted, key=key, part=part)
    return Project({**files, MODELS_FILE: generate_models_py(config)}, config)


def _integration(current: Project, desired: Project, target: Target) -> Integration | None:
    """Return the target, an integration with nothing else in it; None where it is to be removed."""
    candidates = [
        part
        for integration in desired.config.integrations
        if target.integration in {None, integration.key}
        and (part := _part(integration, target)) is not None
    ]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        keys = ", ".join(part.key for part in candidates)
        msg = f"{_named(target)} is in several integrations ({keys}); say in which."
        raise InvalidInputError(msg, code="ambiguous_target")
    is_script = target.sync is not None or target.action is not None
    if not is_script and current.config.integration(target.integration or "") is not None:
        return None
    msg = f"{_named(target)} is not in {CONFIG_FILE}, so there is nothing to deploy."
    raise InvalidInputError(msg, code="unknown_target")


def _part(integration: Integration, target: Target) -> Integration | None:
    if target.sync is not None:
        sync = integration.sync(target.sync)
        return Integration(integration.key, syncs=(sync,)) if sync else None
    if target.action is not None:
        action = integration.action(target.action)
        return Integration(integration.key, actions=(action,)) if action else None
    return integration


def _named(target: Target) -> str:
    where = f" of integration {target.integration!r}" if target.integration else ""
    if target.sync is not None:
        return f"The sync {target.sync!r}{where}"
    if target.action is not None:
        return f"The action {target.action!r}{where}"
    return f"The integration {target.integration!r}"


def _with_scripts(integration: Integration, added: Integration) -> Integration:
    return replace(
        integration,
        syncs=_replaced(integration.syncs, added.syncs),
        actions=_replaced(integration.actions, added.actions),
    )


def _replaced(scripts: Iterable[ScriptT], added: Iterable[ScriptT]) -> tuple[ScriptT, ...]:
    by_name = {script.name: script for script in scripts}
    return tuple((by_name | {script.name: script for script in added}).values())


def _refuse_duplicates(integration: Integration) -> None:
    models = Counter(model for sync in integration.syncs for model in sync.output)
    endpoints = Counter(
        f"{endpoint.method} {endpoint.path}"
        for endpoint in (
            *(endpoint for sync in integration.syncs for endpoint in sync.endpoints),
            *(action.endpoint for action in integration.actions if action.endpoint),
        )
    )
    for code, counts in (("duplicate_model", models), ("duplicate_endpoint", endpoints)):
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            what = "syncs save" if code == "duplicate_model" else "scripts are served at"
            msg = (
                f"Two {what} {twice[0]!r} when this is deployed alone, because what is deployed "
                f"of {integration.key!r} stays; deploy the whole integration."
            )
            raise InvalidInputError(msg, code=code)


def _with_used_models(integration: Integration, models: Mapping[str, Model]) -> Integration:
    """Bring up to date what scripts use: a model that was replaced may lead to others."""
    return replace(
        integration,
        syncs=tuple(_with_closure(sync, models) for sync in integration.syncs),
        actions=tuple(_with_closure(action, models) for action in integration.actions),
    )


def _with_closure(script: ScriptT, models: Mapping[str, Model]) -> ScriptT:
    waiting = [name for name in (script.input, *script.output) if name and name in models]
    used: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += [name for field in models[name].fields for name in references(field.type)]
    return replace(script, used_models=tuple(sorted(used)))


def _files(
    current: Project, desired: Project, wanted: Integration | None, *, key: str, part: bool
) -> dict[str, str]:
    """Return the files that are deployed, with those of the target's scripts replaced."""
    targeted = scripts_of(desired, (wanted,) if wanted else ())
    new = reachable_files(desired.files, (script.path for script in targeted.values()))
    deployed = scripts_of(current, current.config.integrations)
    replaced_ = {name for name in deployed if (name in targeted if part else name[1] == key)}
    old = reachable_files(current.files, (deployed[name].path for name in replaced_))
    others = (script.path for name, script in deployed.items() if name not in replaced_)
    gone = old - desired.files.keys() - reachable_files(current.files, others)
    files = {path: text for path, text in current.files.items() if path not in gone}
    files.setdefault(CONFIG_FILE, desired.files[CONFIG_FILE])
    return files | {path: desired.files[path] for path in new}
