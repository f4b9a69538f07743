"""YAML read into nodes that know where they stand.

Nothing is ever constructed but text, numbers, lists and mappings; what a file could do to the
reader (deep nesting, alias bombs, sheer size) is refused early. A node is made once and shared by
the aliases that name it, so the tree is read-only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple, NoReturn

import yaml

from perdure.documents.problems import FileCode, Position, Problem, shorten, split_lines
from perdure.documents.scalars import (
    ScalarValue,
    Timestamp,
    is_list_index,
    key_text,
    resolve,
    resolve_tagged,
)

__all__ = ["Entry", "Mapping", "Node", "Scalar", "Sequence", "YamlError", "describe", "read_yaml"]

MAX_CHARACTERS = 4 * 1024 * 1024
"""Longest text that is read."""

MAX_DEPTH = 64
"""Deepest nesting that is read."""

MAX_NODES = 250_000
"""Most nodes that are read; those that an alias repeats count each time."""

_HEEDED_IN_1_1 = "\x85\u2028\u2029\ufeff"
"""Line breaks and a byte order mark of YAML 1.1, which are plain text in YAML 1.2."""

_IDLE_TABS = re.compile(r"^[ \t]*\t[ \t]*(?=#|\r?$)", re.MULTILINE)

_STANDARD_TAG = "tag:yaml.org,2002:"
# The C parser where PyYAML has it: ten times as fast, and nearer to YAML 1.2 in small things.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(Exception):
    """The text is not YAML, or none that is read here.

    Attributes:
        problems: All that is known to be wrong.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


@dataclass(slots=True, eq=False)
class _Node:
    position: Position


@dataclass(slots=True, eq=False)
class Scalar(_Node):
    """A single value.

    Attributes:
        text: As it was written, without quotes.
        value: What it means.
        is_merge: It is the plain word `<<`.
    """

    text: str
    value: ScalarValue
    is_merge: bool = False

    def part(self, start: int, end: int) -> Position:
        """Return where the characters `start` to `end` of the text stand, or else the node."""
        whole = self.position
        width = whole.end_column - whole.column
        if whole.line != whole.end_line or width not in (len(self.text), len(self.text) + 2):
            return whole
        first = whole.column + (width - len(self.text)) // 2
        return Position(whole.file, whole.line, first + start, whole.line, first + end)


@dataclass(slots=True, eq=False)
class Sequence(_Node):
    """A list."""

    items: list[Node]


class Entry(NamedTuple):
    """One key of a mapping and what it leads to."""

    key: Scalar
    value: Node


@dataclass(slots=True, eq=False)
class Mapping(_Node):
    """A mapping; keys that are small numbers come first, the others as they were written."""

    entries: dict[str, Entry]

    def get(self, key: str) -> Node | None:
        """Return what `key` leads to, None when it is not there."""
        entry = self.entries.get(key)
        return entry.value if entry else None


Node = Scalar | Sequence | Mapping


def describe(node: Node) -> str:
    """Return what a node is, in words: `a list`, `the number 5`."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    value = node.value
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Timestamp):
        return f"the date {value.text}"
    return f"the number {node.text}" if isinstance(value, int | float) else f"the text {value!r}"


def read_yaml(text: str, file: str) -> Node | None:
    """Return the root of the one document in `text`, None when there is nothing in it.

    Args:
        text: The YAML.
        file: How positions name the file.

    Raises:
        YamlError: It is not YAML, uses what is not read here, or is too large or too complex.
    """
    if len(text) > MAX_CHARACTERS:
        limit = f"{MAX_CHARACTERS // 2**20} MiB"
        message = f"The file has {len(text):,} characters; at most {limit} are read."
        raise YamlError(Problem(FileCode.TOO_LARGE, message))
    _refuse_control_characters(text, file)
    try:
        composer = _compose(text, file)
    except yaml.MarkedYAMLError as error:
        raise YamlError(_syntax_problem(error, text, file)) from None
    except yaml.YAMLError as error:
        message = f"This is not valid YAML: {shorten(str(error), 200)}."
        raise YamlError(
            Problem(FileCode.YAML, message, position=Position(file, 1, 1, 1, 2))
        ) from None
    if composer.problems:
        raise YamlError(*composer.problems)
    return composer.root


def _compose(text: str, file: str) -> _Composer:
    stand_ins = _stand_ins(text)
    text = text.translate({ord(char): stand_in for char, stand_in in stand_ins.items()})
    try:
        return _composed(text, file, stand_ins)
    except yaml.MarkedYAMLError:
        # Tabs in front of nothing do no harm, but the parser minds them.
        without = _IDLE_TABS.sub(lambda match: " " * len(match[0]), text)
        if without == text:
            raise
        return _composed(without, file, stand_ins)


def _composed(text: str, file: str, stand_ins: dict[str, str]) -> _Composer:
    composer = _Composer(file, {ord(stand_in): char for char, stand_in in stand_ins.items()})
    for event in yaml.parse(text, Loader=_LOADER):
        composer.feed(event)
    return composer


def _stand_ins(text: str) -> dict[str, str]:
    """Return for each character of `text` that only YAML 1.1 heeds another to stand in for it."""
    heeded = [char for char in _HEEDED_IN_1_1 if char in text]
    free = (chr(code) for code in range(0xE000, 0xF900) if chr(code) not in text)
    return dict(zip(heeded, free, strict=False))


class _Made(NamedTuple):
    """A complete node, how many nodes it holds with itself, and how deep it is nested inside."""

    node: Node
    weight: int
    height: int


class _Frame:
    """A collection that is still being read."""

    __slots__ = ("anchor", "height", "key", "merged", "node", "weight")

    def __init__(self, node: Sequence | Mapping, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: Scalar | None = None
        self.merged: set[str] = set()
        self.weight = 1
        self.height = 1


class _Composer:
    """Builds the tree from the parser's events, without recursion."""

    def __init__(self, file: str, originals: dict[int, str]) -> None:
        self.root: Node | None = None
        self._originals = originals
        self.problems: list[Problem] = []
        self._file = file
        self._open: list[_Frame] = []
        self._anchors: dict[str, _Made] = {}
        self._nodes = 0

    def feed(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._close(_Made(self._scalar(event), 1, 0), event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            frame = self._open.pop()
            frame.node.position = _span(frame.node.position, self._position(event))
            if isinstance(frame.node, Mapping):
                _sort_like_javascript(frame.node)
            self._close(_Made(frame.node, frame.weight, frame.height), frame.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            message = "This file has more than one document; one is read."
            self._fatal(message, self._position(event))

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        position = self._position(event)
        node: Sequence | Mapping
        if isinstance(event, yaml.SequenceStartEvent):
            node, tag = Sequence(position, []), "seq"
        else:
            node, tag = Mapping(position, {}), "map"
        if event.tag not in (None, "!", _STANDARD_TAG + tag):
            self._unknown_tag(event.tag, position)
        self._count(_Made(node, 1, 1), position)
        self._open.append(_Frame(node, event.anchor))

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        position = self._position(event)
        text: str = event.value
        if self._originals:
            text = text.translate(self._originals)
        value: ScalarValue = text
        if event.tag not in (None, "!"):
            try:
                value = resolve_tagged(text, event.tag.removeprefix(_STANDARD_TAG))
            except ValueError:
                self._unknown_tag(event.tag, position)
        elif event.tag is None and not event.style:
            value = resolve(text)
        if "\0" in text:
            self._problem("A text must not hold the NUL character.", position)
        scalar = Scalar(position, text, value, is_merge=text == "<<" and not event.style)
        self._count(_Made(scalar, 1, 0), position)
        return scalar

    def _alias(self, event: yaml.AliasEvent) -> None:
        anchor = event.anchor or ""
        found = self._anchors.get(anchor)
        if found is None:
            inside = any(frame.anchor == anchor for frame in self._open)
            problem = "stands inside of what it names" if inside else "is not defined above"
            self._fatal(f"The alias `*{anchor}` {problem}.", self._position(event))
        self._count(found, self._position(event))
        self._close(found, None)

    def _count(self, made: _Made, position: Position) -> None:
        """Refuse what would be too much; what an alias repeats counts anew."""
        self._nodes += made.weight
        if self._nodes > MAX_NODES:
            message = f"This file unfolds to more than {MAX_NODES:,} values."
            self._fatal(message, position, FileCode.TOO_COMPLEX)
        if len(self._open) + made.height > MAX_DEPTH:
            message = f"This is nested more than {MAX_DEPTH} levels deep."
            self._fatal(message, position, FileCode.TOO_COMPLEX)

    def _close(self, made: _Made, anchor: str | None) -> None:
        """Put a complete node where it belongs."""
        if anchor:
            self._anchors[anchor] = made
        node = made.node
        if not self._open:
            self.root = node
            return
        frame = self._open[-1]
        frame.weight += made.weight
        frame.height = max(frame.height, made.height + 1)
        if isinstance(frame.node, Sequence):
            frame.node.items.append(node)
        elif frame.key is None:
            if not isinstance(node, Scalar):
                self._fatal(f"A key must be a single word, not {describe(node)}.", node.position)
            frame.key = node
        else:
            self._entry(frame, frame.node, frame.key, node)
            frame.key = None

    def _entry(self, frame: _Frame, mapping: Mapping, key: Scalar, value: Node) -> None:
        if key.is_merge:
            self._merge(frame, mapping, value)
            return
        name = key_text(key.value)
        known = mapping.entries.get(name)
        if known and name not in frame.merged:
            line = known.key.position.line
            message = f"The key `{shorten(name)}` is already there, in line {line}."
            self._problem(message, key.position)
            return
        frame.merged.discard(name)
        mapping.entries[name] = Entry(key, value)

    def _merge(self, frame: _Frame, mapping: Mapping, value: Node) -> None:
        for source in value.items if isinstance(value, Sequence) else [value]:
            if not isinstance(source, Mapping):
                self._problem(f"`<<` merges mappings; this is {describe(source)}.", source.position)
                continue
            for name, entry in source.entries.items():
                if name not in mapping.entries:
                    mapping.entries[name] = entry
                    frame.merged.add(name)

    def _unknown_tag(self, tag: str, position: Position) -> None:
        shown = shorten(tag.replace(_STANDARD_TAG, "!!"))
        self._problem(f"The tag `{shown}` means nothing here.", position)

    def _problem(self, message: str, position: Position) -> None:
        self.problems.append(Problem(FileCode.YAML, message, position=position))

    def _fatal(self, message: str, position: Position, code: FileCode = FileCode.YAML) -> NoReturn:
        raise YamlError(*self.problems, Problem(code, message, position=position))

    def _position(self, event: yaml.Event) -> Position:
        start, end = event.start_mark, event.end_mark
        if start is None or end is None:  # the parser marks every event; its types do not say so
            return Position(self._file, 1, 1, 1, 1)
        return Position(self._file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)


def _span(first: Position, last: Position) -> Position:
    return replace(first, end_line=last.end_line, end_column=last.end_column)


def _sort_like_javascript(mapping: Mapping) -> None:
    entries = mapping.entries
    indexes = [name for name in entries if name[:1].isdigit() and is_list_index(name)]
    if indexes:
        first = {name: entries[name] for name in sorted(indexes, key=int)}
        mapping.entries = first | entries


_OTHER_THAN_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _refuse_control_characters(text: str, file: str) -> None:
    if match := _OTHER_THAN_TEXT.search(text):
        # The character itself keeps the last line from being left out.
        lines = split_lines(text[: match.end()])
        line, column = len(lines) - 1, len(lines[-1]) - 1
        message = f"The file holds the character U+{ord(match[0]):04X}; it is not text."
        position = Position(file, line + 1, column + 1, line + 1, column + 2)
        raise YamlError(Problem(FileCode.YAML, message, position=position))


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    lines = split_lines(text) or [""]
    end = (len(lines) - 1, len(lines[-1]))
    marks = [mark for mark in (error.problem_mark, error.context_mark) if mark]
    places = [(mark.line, mark.column) for mark in marks]
    # What the end of the file leaves open is told where it begins.
    line, column = next((place for place in places if place < end), end)
    what = shorten(f"{error.context or ''} {error.problem or ''}", 200)
    position = Position(file, line + 1, column + 1, line + 1, column + 2)
    hint = _HINTS.get(lines[line][column : column + 1])
    if error.context in _OPEN and error.context_mark:
        hint = f"close the `{_OPEN[error.context]}` of line {error.context_mark.line + 1}"
    return Problem(FileCode.YAML, f"This is not valid YAML: {what}.", position=position, hint=hint)


_OPEN = {"while parsing a flow sequence": "[", "while parsing a flow mapping": "{"}


_HINTS = {
    "\t": "indent with spaces; YAML knows no tabs there",
    ":": "put the value in quotes when it holds `: `",
    "@": "put a name that starts with `@` in quotes",
    "`": "put a text that starts with a backtick in quotes",
    "%": "put a text that starts with `%` in quotes",
}
