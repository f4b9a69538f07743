"""The providers that integrations may name: our own entries and those of the operator's files.

A file maps names to entries, in the shape of a `providers.yaml`. An entry with `alias` starts from
another entry and replaces what it states itself, mapping by mapping; an empty value removes what
the other one states. A later file replaces the entries of an earlier one; there an alias of the
entry's own name starts from what is replaced. Everything is checked when it is loaded; looking up
cannot fail for any other reason than an unknown name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path

from pydantic import JsonValue, ValidationError

from perdure.documents.problems import Path as Steps
from perdure.documents.problems import Position, Problem, shorten
from perdure.errors import NotFoundError, StartupError
from perdure.providers.provider import Provider
from perdure.providers.provider_files import (
    StatedEntry,
    provider_files,
    read_provider_file,
    yaml_files,
)
from perdure.providers.webhook_rules import merged

__all__ = ["ProviderCatalog"]

_MOST_TOLD = 20


class ProviderCatalog:
    """Providers by name.

    Args:
        providers: The providers.
        stated: Their entries as they were written, aliases resolved; where a provider has none,
            its entry is made from its fields.
    """

    def __init__(
        self,
        providers: Iterable[Provider],
        stated: Mapping[str, Mapping[str, JsonValue]] | None = None,
    ) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._stated = stated or {}

    @classmethod
    def load(cls, extra: Path | None = None) -> ProviderCatalog:
        """Load our own entries and the operator's.

        Args:
            extra: A YAML file, or a folder whose `*.yaml` and `*.yml` files are read in order of
                their names.

        Raises:
            StartupError: A file cannot be read, or entries are not valid; each fault is named with
                its file, line and column.
        """
        own = resources.files("perdure.providers").joinpath("catalog")
        files = (*yaml_files(own.iterdir()), *(provider_files(extra) if extra else ()))
        entries: dict[str, StatedEntry] = {}
        problems: list[Problem] = []
        for file in files:
            for found in read_provider_file(file):
                if isinstance(found, Problem):
                    problems.append(found)
                else:
                    entries[found.name] = replace(found, replaced=entries.get(found.name))
        loader = _Loader(entries)
        catalog = cls(*loader.load())
        problems += loader.problems
        if problems:
            raise StartupError(_told(problems), code="invalid_providers")
        return catalog

    def get(self, name: str) -> Provider:
        """Return a provider.

        Raises:
            NotFoundError: With code `unknown_provider`.
        """
        if (provider := self._providers.get(name)) is None:
            raise NotFoundError(
                f"There is no provider {name!r}{_did_you_mean(name, self._providers)}. See "
                "`perdure providers list`, or add an entry of your own to the file that "
                "PERDURE_PROVIDERS names.",
                code="unknown_provider",
            )
        return provider

    def entry(self, name: str) -> dict[str, JsonValue]:
        """Return the entry of a provider as it was written, its alias resolved.

        Raises:
            NotFoundError: With code `unknown_provider`.
        """
        provider = self.get(name)
        stated = self._stated.get(name)
        if stated is not None:
            return dict(stated)
        return provider.model_dump(mode="json", exclude_unset=True, exclude={"name"})

    def search(self, text: str) -> list[Provider]:
        """Return the providers whose name, display name or categories hold a text, by name."""
        wanted = text.strip().casefold()
        return [
            provider
            for provider in self
            if any(
                wanted in words.casefold()
                for words in (provider.name, provider.display_name, *provider.categories)
            )
        ]

    def __contains__(self, name: object) -> bool:
        return name in self._providers

    def __iter__(self) -> Iterator[Provider]:
        return (self._providers[name] for name in sorted(self._providers))

    def __len__(self) -> int:
        return len(self._providers)


class _Loader:
    """Makes providers of entries, and notes what is wrong with them."""

    def __init__(self, entries: Mapping[str, StatedEntry]) -> None:
        self._entries = entries
        self._refused: set[tuple[Position, Steps]] = set()
        self.problems: list[Problem] = []

    def load(self) -> tuple[list[Provider], dict[str, dict[str, JsonValue]]]:
        """Return the providers without faults, and the entries they were made from."""
        providers: list[Provider] = []
        stated: dict[str, dict[str, JsonValue]] = {}
        for name, entry in self._entries.items():
            if (chain := self._chain(entry)) is None:
                continue
            fields: dict[str, JsonValue] = {}
            for link in reversed(chain):
                fields = _given(merged(fields, link.fields()))
            try:
                providers.append(Provider.model_validate({**fields, "name": name}))
            except ValidationError as error:
                self._refuse(chain, error)
            stated[name] = fields
        return providers, stated

    def _chain(self, entry: StatedEntry) -> list[StatedEntry] | None:
        """Return an entry and those it starts from, the nearest first; None if one is missing."""
        chain = [entry]
        while alias := chain[-1].alias:
            last = chain[-1]
            base = last.replaced if alias == last.name else self._entries.get(alias)
            if base is None or base in chain:
                hint = "" if base else _did_you_mean(alias, self._entries)
                fault = "leads back to itself" if base else f"does not exist{hint}"
                if alias == last.name:
                    fault = "is the entry itself, and there is no earlier one of the name"
                message = f"The alias {alias!r} of the provider {last.name!r} {fault}."
                _, position = last.place(("alias",))
                problem = Problem("alias", message, (last.name, "alias"), position)
                if problem not in self.problems:
                    self.problems.append(problem)
                return None
            chain.append(base)
        return chain

    def _refuse(self, chain: list[StatedEntry], error: ValidationError) -> None:
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            path = fault["loc"]
            # Own fields come first: the entry where most of the path is found is the one at fault.
            _, position = max((link.place(path) for link in chain), key=lambda place: place[0])
            where = ".".join(map(str, path))
            message = f"{where} of the provider {chain[0].name!r}: {fault['msg']}."
            # What is wrong with an entry is told once, not for each that starts from it.
            if (position, path) not in self._refused:
                self._refused.add((position, path))
                problem = Problem(fault["type"], message, (chain[0].name, *path), position)
                self.problems.append(problem)


def _given(fields: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return fields without those that are empty, at every depth of mappings."""
    return {
        name: _given(value) if isinstance(value, dict) else value
        for name, value in fields.items()
        if value is not None
    }


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.7)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _told(problems: list[Problem]) -> str:
    lines = [
        f"{f'{at.file}:{at.line}:{at.column}: ' if (at := problem.position) else ''}"
        f"{shorten(problem.message, 300)}{f' Hint: {problem.hint}.' if problem.hint else ''}"
        for problem in problems[:_MOST_TOLD]
    ]
    if len(problems) > _MOST_TOLD:
        lines.append(f"... and {len(problems) - _MOST_TOLD} more.")
    return "\n".join(lines)
