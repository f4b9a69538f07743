"""Entries of providers as files state them, with the place of every field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import JsonValue

from perdure.documents import nodes
from perdure.documents.problems import FileCode, Position, Problem
from perdure.documents.scalars import Timestamp
from perdure.errors import StartupError

__all__ = ["StatedEntry", "provider_files", "read_provider_file", "yaml_files"]


@dataclass(frozen=True, slots=True)
class StatedEntry:
    """What a file says of a provider.

    Attributes:
        name: Key of the entry.
        position: Where the key stands.
        node: What it leads to.
        replaced: What an earlier file says of the same provider.
    """

    name: str
    position: Position
    node: nodes.Mapping
    replaced: StatedEntry | None = None

    @property
    def alias(self) -> str | None:
        """The entry that this one starts from."""
        alias = self.node.get("alias")
        return alias.text if isinstance(alias, nodes.Scalar) and alias.text else None

    def fields(self) -> dict[str, JsonValue]:
        """Return what stands in the entry as plain data."""
        return {name: _data(entry.value) for name, entry in self.node.entries.items()}

    def place(self, path: Sequence[str | int]) -> tuple[int, Position]:
        """Return how far a path leads inside of the entry, and the position of where it ends."""
        node: nodes.Node = self.node
        position = self.position
        for depth, step in enumerate(path):
            below = _below(node, step)
            if below is None:
                return depth, position
            node = below
            position = node.position
        return len(path), position


def provider_files(place: Path) -> list[Traversable]:
    """Return a file, or the `*.yaml` and `*.yml` files of a folder in order of their names.

    Raises:
        StartupError: There is nothing of that name.
    """
    if not place.exists():
        raise StartupError(f"There is no file or folder {str(place)!r} to load providers from.")
    return yaml_files(place.iterdir()) if place.is_dir() else [place]


def yaml_files(files: Iterable[Traversable]) -> list[Traversable]:
    """Return those that are YAML, in order of their names."""
    found = [file for file in files if file.name.endswith((".yaml", ".yml")) and file.is_file()]
    return sorted(found, key=lambda file: file.name)


def read_provider_file(file: Traversable) -> Iterator[StatedEntry | Problem]:
    """Read the entries of a file; what is no entry is told as a problem."""
    try:
        root = nodes.read_yaml(file.read_text(encoding="utf-8-sig"), str(file))
    except OSError as error:
        yield Problem(FileCode.UNREADABLE, f"{file}: cannot be read: {error}")
        return
    except UnicodeDecodeError:
        yield Problem(FileCode.UNREADABLE, f"{file}: is not UTF-8 text")
        return
    except nodes.YamlError as error:
        yield from error.problems
        return
    if root is None or (isinstance(root, nodes.Scalar) and root.value is None):
        return
    if not isinstance(root, nodes.Mapping):
        message = (
            "A providers file must map the name of each provider to its fields; this is "
            f"{nodes.describe(root)}."
        )
        yield Problem("type", message, position=root.position)
        return
    for name, (key, value) in root.entries.items():
        if isinstance(value, nodes.Mapping):
            yield StatedEntry(name, key.position, value)
        else:
            message = (
                f"A providers file must map the name of each provider to its fields; {name!r} "
                f"leads to {nodes.describe(value)}."
            )
            yield Problem("type", message, (name,), value.position)


def _below(node: nodes.Node, step: str | int) -> nodes.Node | None:
    if isinstance(node, nodes.Mapping):
        return node.get(str(step))
    if isinstance(node, nodes.Sequence) and isinstance(step, int) and step < len(node.items):
        return node.items[step]
    return None


def _data(node: nodes.Node) -> JsonValue:
    if isinstance(node, nodes.Mapping):
        return {name: _data(entry.value) for name, entry in node.entries.items()}
    if isinstance(node, nodes.Sequence):
        return [_data(item) for item in node.items]
    # A date is written as one by mistake: versions of APIs are named by dates.
    return node.value.text if isinstance(node.value, Timestamp) else node.value
