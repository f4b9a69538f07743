"""The providers that integrations may name: our own entries and those of the operator's files.

A file maps names to entries, in the shape of a `providers.yaml`. An entry with `alias` takes over
another entry and replaces what it states itself, mapping by mapping. A later file replaces the
entries of an earlier one. Everything is checked when it is loaded; looking up cannot fail for any
other reason than an unknown name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import ValidationError

from perdure.errors import NotFoundError, StartupError
from perdure.providers.provider import Provider
from perdure.providers.webhook_rules import merged

__all__ = ["ProviderCatalog"]

_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Entries: TypeAlias = dict[str, Mapping[str, Any]]


class ProviderCatalog:
    """Providers by name."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._providers = {provider.name: provider for provider in providers}

    @classmethod
    def load(cls, extra: Path | None = None) -> ProviderCatalog:
        """Load our own entries and the operator's.

        Args:
            extra: A YAML file, or a folder whose `*.yaml` and `*.yml` files are read in order of
                their names.

        Raises:
            StartupError: If a file cannot be read, or an entry is not valid.
        """
        entries: _Entries = {}
        own = resources.files("perdure.providers").joinpath("catalog")
        for file in (*_yaml_files(own.iterdir()), *_extra_files(extra)):
            entries |= _read(file)
        return cls(_provider(name, entries) for name in entries)

    def get(self, name: str) -> Provider:
        """Return a provider.

        Raises:
            NotFoundError: With code `unknown_provider`.
        """
        if (provider := self._providers.get(name)) is None:
            raise NotFoundError(
                f"There is no provider {name!r}. See the list of providers, or add an entry of "
                "your own to the file that PERDURE_PROVIDERS names.",
                code="unknown_provider",
            )
        return provider

    def __contains__(self, name: object) -> bool:
        return name in self._providers

    def __iter__(self) -> Iterator[Provider]:
        return (self._providers[name] for name in sorted(self._providers))

    def __len__(self) -> int:
        return len(self._providers)


def _yaml_files(files: Iterable[Traversable]) -> list[Traversable]:
    found = [file for file in files if file.name.endswith((".yaml", ".yml")) and file.is_file()]
    return sorted(found, key=lambda file: file.name)


def _extra_files(extra: Path | None) -> list[Traversable]:
    if extra is None:
        return []
    if not extra.exists():
        raise StartupError(f"There is no file or folder {str(extra)!r} to load providers from.")
    return _yaml_files(extra.iterdir()) if extra.is_dir() else [extra]


def _read(file: Traversable) -> _Entries:
    try:
        content = yaml.load(file.read_bytes(), Loader=_YamlLoader)  # noqa: S506 a safe loader
    except OSError as error:
        raise StartupError(f"Cannot read the providers file {str(file)!r}: {error}") from error
    except yaml.YAMLError as error:
        raise StartupError(f"The providers file {str(file)!r} is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise StartupError(
            f"The providers file {str(file)!r} must map the name of each provider to its fields."
        )
    return {str(name): entry for name, entry in content.items()}


def _provider(name: str, entries: _Entries) -> Provider:
    try:
        return Provider.model_validate({**_resolved(name, entries), "name": name})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors()
        )
        raise StartupError(f"The provider entry {name!r} is not valid: {problems}.") from error


def _resolved(name: str, entries: _Entries) -> Mapping[str, Any]:
    chain = [name]
    resolved: Mapping[str, Any] = entries[name]
    while alias := entries[chain[-1]].get("alias"):
        if alias in chain or alias not in entries:
            problem = "leads back to itself" if alias in chain else "does not exist"
            raise StartupError(f"The alias {alias!r} of the provider entry {name!r} {problem}.")
        chain.append(alias)
        resolved = merged(entries[alias], resolved)
    return resolved
