"""Which script of a project somebody means by a name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from config.project import Action, Integration, NangoConfig, Sync
from config.scripts import NamedScript, named_scripts
from perdure.errors import InvalidInputError, NotFoundError
from perdure.scripts.bundle import ScriptKind, ScriptPlaces

__all__ = ["FoundScript", "find_script", "scripts_of_integration"]


@dataclass(frozen=True, slots=True)
class FoundScript:
    """A script that has a file.

    Attributes:
        path: Its file.
        named: What `nango.yaml` says of it; of a hook that is named for several events, the first.
    """

    path: str
    named: NamedScript

    @property
    def integration(self) -> str:
        """Key of its integration."""
        return self.named.integration

    @property
    def name(self) -> str:
        """Its name."""
        return self.named.name

    @property
    def kind(self) -> ScriptKind:
        """What it is."""
        return self.named.kind

    @property
    def declared(self) -> Sync | Action | None:
        """How a sync or an action is declared."""
        return self.named.declared


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
    there = [
        script
        for item in config.integrations
        if integration is None or item.key == integration
        for script in scripts_of_integration(item, places)
    ]
    found = [script for script in there if name in (script.name, script.path)]
    if not found:
        where = f" of {integration}" if integration else ""
        names = ", ".join(dict.fromkeys(script.name for script in there)) or "none"
        msg = f"nango.yaml names no script {name!r}{where} that has a file; there are: {names}"
        raise NotFoundError(msg, code="script_not_found")
    if len(found) > 1:
        paths = ", ".join(script.path for script in found)
        msg = f"Several scripts are called {name!r}; name one by its file: {paths}"
        raise InvalidInputError(msg, code="ambiguous_script")
    return found[0]


def scripts_of_integration(item: Integration, places: ScriptPlaces) -> Iterator[FoundScript]:
    """Yield the scripts of an integration that have a file, each once."""
    seen: set[str] = set()
    for named in named_scripts(item):
        path = named.path(places)
        if path is not None and path not in seen:
            seen.add(path)
            yield FoundScript(path, named)
