"""Python annotations as text: put together flat, broken over lines where they are too long.

The layout is that of ruff and black at 88 columns, so a generated file survives the formatter of
whoever keeps it in a repository.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

from config.project import (
    ArrayType,
    Field,
    LiteralType,
    NativeName,
    NativeType,
    ObjectType,
    ReferenceType,
    TypeExpr,
    UnionType,
)

__all__ = ["Annotation", "PythonTypes", "alias", "assignment", "quoted"]

_LINE_LENGTH = 88
_INDENT = " " * 4


@dataclass(frozen=True, slots=True)
class _Part:
    """A name with what stands in brackets behind it."""

    name: str
    arguments: tuple[Annotation, ...] = ()

    def __str__(self) -> str:
        inner = ", ".join(map(str, self.arguments))
        return f"{self.name}[{inner}]" if inner else self.name


@dataclass(frozen=True, slots=True)
class Annotation:
    """Alternatives, each of them once; `None` stands last."""

    parts: tuple[_Part, ...]

    def __str__(self) -> str:
        return " | ".join(map(str, self.parts))

    @classmethod
    def of(cls, name: str) -> Annotation:
        """Return the annotation that is just a name."""
        return cls((_Part(name),))

    @classmethod
    def subscript(cls, name: str, *arguments: Annotation) -> Annotation:
        """Return the annotation `name[arguments]`."""
        return cls((_Part(name, arguments),))

    def names(self) -> Iterator[str]:
        """Yield all names in it, literal values among them."""
        for part in self.parts:
            yield part.name
            for argument in part.arguments:
                yield from argument.names()

    @property
    def takes_none(self) -> bool:
        """Whether `None` is among what it allows."""
        return any(part in (_NONE, _ANY) for part in self.parts)

    def or_none(self) -> Annotation:
        """Return the same with `None` allowed, too."""
        return self if self.takes_none else Annotation((*self.parts, _NONE))


_ANY = _Part("Any")
_NONE = _Part("None")
_LITERAL = "Literal"

_NATIVES: dict[NativeName, Annotation] = {
    "string": Annotation.of("str"),
    # A whole number stays one on its way through a model.
    "number": Annotation((_Part("int"), _Part("float"))),
    "bigint": Annotation.of("int"),
    "boolean": Annotation.of("bool"),
    "date": Annotation.of("datetime"),
    "object": Annotation.subscript("dict", Annotation.of("str"), Annotation.of("Any")),
    "array": Annotation.subscript("list", Annotation.of("Any")),
    "any": Annotation.of("Any"),
    "undefined": Annotation.of("None"),
    "never": Annotation.of("None"),
    "void": Annotation.of("None"),
}


@dataclass(frozen=True, slots=True)
class PythonTypes:
    """Turns types of `nango.yaml` into annotations.

    Attributes:
        class_name: Gives the class of a model by the model's name.
        object_class: Gives the class for an object written in place, making it up.
    """

    class_name: Callable[[str], str]
    object_class: Callable[[tuple[Field, ...]], str]

    def annotation(self, type_: TypeExpr) -> Annotation:
        """Return the annotation for a type."""
        match type_:
            case NativeType(name=name):
                found = _NATIVES[name]
            case LiteralType(value=value):
                found = Annotation((_literal(value),))
            case ReferenceType(model=model):
                found = Annotation.of(self.class_name(model))
            case ArrayType(items=items):
                found = Annotation.subscript("list", self.annotation(items))
            case UnionType(members=members):
                found = _union(self.annotation(member) for member in members)
            case ObjectType(fields=fields):
                found = self._object(fields)
            case _:
                assert_never(type_)
        return found

    def _object(self, fields: tuple[Field, ...]) -> Annotation:
        if not fields:
            return _NATIVES["object"]
        if len(fields) == 1 and fields[0].dynamic:
            return Annotation.subscript("dict", _NATIVES["string"], self.annotation(fields[0].type))
        return Annotation.of(self.object_class(fields))


def assignment(
    name: str, annotation: Annotation, value: str = "", arguments: tuple[str, ...] = ()
) -> str:
    """Return a line of a class, or several: `    name: annotation = value(arguments)`.

    Args:
        name: Name of the attribute.
        annotation: Its annotation.
        value: What it is set to, empty for nothing.
        arguments: What `value` is called with; without them it is not called.
    """
    head = f"{_INDENT}{name}: "
    call = f"{value}({', '.join(arguments)})" if arguments else value
    end = f" = {call}" if value else ""
    if len(f"{head}{annotation}{end}") <= _LINE_LENGTH:
        return f"{head}{annotation}{end}"
    lines = [f"{head}{annotation}"]
    if not arguments or len(f"{head}{annotation} = {value}(") > _LINE_LENGTH:
        lines = _broken_at_top(annotation, head, _INDENT)
    if arguments and len(lines[-1] + end) > _LINE_LENGTH:
        lines[-1] += f" = {value}("
        lines += [*_broken_arguments(arguments), f"{_INDENT})"]
    else:
        lines[-1] += end
    return "\n".join(lines)


def alias(name: str, annotation: Annotation) -> str:
    """Return a statement that gives a type another name, in one line or several."""
    head = f"{name}: TypeAlias = "
    if len(f"{head}{annotation}") <= _LINE_LENGTH:
        return f"{head}{annotation}"
    return "\n".join(_broken_at_top(annotation, head, ""))


def quoted(text: str) -> str:
    """Return a Python string literal, with the quotes a formatter would choose."""
    if '"' in text and "'" not in text and text.isprintable() and "\\" not in text:
        return f"'{text}'"
    escaped = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped)


def _literal(value: str | float | bool | None) -> _Part:
    if value is None:
        return _NONE
    if isinstance(value, float):  # typing has no literal for these
        return _Part("float")
    shown = quoted(value) if isinstance(value, str) else str(value)
    return _Part(_LITERAL, (Annotation.of(shown),))


def _union(members: Iterable[Annotation]) -> Annotation:
    parts = list(dict.fromkeys(part for member in members for part in member.parts))
    if _ANY in parts or not parts:
        return Annotation((_ANY,))
    literals = [part for part in parts if part.name == _LITERAL]
    values = tuple(argument for part in literals for argument in part.arguments)
    merged = dict.fromkeys(
        _Part(_LITERAL, tuple(dict.fromkeys(values))) if part.name == _LITERAL else part
        for part in parts
        if part != _NONE
    )
    return Annotation((*merged, _NONE) if _NONE in parts else tuple(merged))


def _broken_arguments(arguments: tuple[str, ...]) -> list[str]:
    line = f"{_INDENT * 2}{', '.join(arguments)}"
    if len(line) <= _LINE_LENGTH:
        return [line]
    return [f"{_INDENT * 2}{argument}," for argument in arguments]


def _broken_at_top(annotation: Annotation, head: str, indent: str) -> list[str]:
    [first, *others] = annotation.parts
    if first.arguments and not others:
        lines = _broken_part(first, indent, "")
        return [head + lines[0].lstrip(), *lines[1:]]
    return [f"{head}(", *_broken(annotation, indent + _INDENT), f"{indent})"]


def _broken(annotation: Annotation, indent: str) -> list[str]:
    if len(indent + str(annotation)) <= _LINE_LENGTH:
        return [indent + str(annotation)]
    lines = []
    for number, part in enumerate(annotation.parts):
        lines += _broken_part(part, indent, "| " if number else "")
    return lines


def _broken_part(part: _Part, indent: str, bar: str) -> list[str]:
    flat = f"{indent}{bar}{part}"
    if not part.arguments or (bar and len(flat) <= _LINE_LENGTH):
        return [flat]
    comma = "," if len(part.arguments) > 1 else ""
    lines = [f"{indent}{bar}{part.name}["]
    for argument in part.arguments:
        lines += _broken(argument, indent + _INDENT)
        lines[-1] += comma
    return [*lines, f"{indent}]"]
