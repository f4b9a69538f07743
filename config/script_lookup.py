"""Which script of a project somebody means by a name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from config.project import Action, Integration, NangoConfig, Sync
from perdure.errors import InvalidInputError, NotFoundError
from perdure.scripts.bundle import ScriptKind, ScriptPlaces

__all__ = ["FoundScript", "find_script", "scripts_of_integration"]


@dataclass(frozen=True, slots=True)
class FoundScript:
    """A script that has a file.

    Attributes:
        integration: Key of its integration.
        path: Its file.
        declared: What `nango.yaml` says of it.
    """

    integration: str
    path: str
    declared: Sync | Action

    @property
    def kind(self) -> ScriptKind:
        """What it is."""
        return ScriptKind.SYNC if isinstance(self.declared, Sync) else ScriptKind.ACTION


def find_script(
    config: NangoConfig, places: ScriptPlaces, name: str, integration: str | None = None
) -> FoundScript:
    """Return the script that is meant.

    Args:
        config: The project.
        places: Where its scripts lie.
        name: Name of the script, or the path of its file.
        integration: Only of this integration.

    Raises:
        NotFoundError: `script_not_found`.
        InvalidInputError: `ambiguous_script`, several are meant.
    """
    found = [
        script
        for item in config.integrations
        if integration is None or item.key == integration
        for script in scripts_of_integration(item, places)
        if name in (script.declared.name, script.path)
    ]
    if not found:
        where = f" of {integration}" if integration else ""
        msg = f"nango.yaml names no sync and no action {name!r}{where} that has a file."
        raise NotFoundError(msg, code="script_not_found")
    if len(found) > 1:
        paths = ", ".join(script.path for script in found)
        msg = f"Several scripts are called {name!r}; name one by its file: {paths}"
        raise InvalidInputError(msg, code="ambiguous_script")
    return found[0]


def scripts_of_integration(item: Integration, places: ScriptPlaces) -> Iterator[FoundScript]:
    """Yield the syncs and actions of an integration that have a file."""
    declared_scripts: tuple[Sync | Action, ...] = (*item.syncs, *item.actions)
    for declared in declared_scripts:
        kind = ScriptKind.SYNC if isinstance(declared, Sync) else ScriptKind.ACTION
        path = places.find(item.key, kind, declared.name)
        if path is not None:
            yield FoundScript(item.key, path, declared)
