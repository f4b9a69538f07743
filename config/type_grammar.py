"""The type words of `nango.yaml` (`string`, `Issue[]`, `open | closed | null`), read and written.

    type   = member { "|" member }          a union splits on every bar
    member = word { "[]" }
    word   = built-in type | model | number | true | false | null | any other text

A word that is neither a type nor a model is a string literal; that is how enumerations are
written, and also what becomes of a mistyped name, so each such word is a `Finding`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, assert_never

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
from perdure.documents.scalars import resolve

__all__ = ["NATIVE_WORDS", "TYPE_PATTERN", "Finding", "format_type", "parse_type"]

NATIVE_WORDS: dict[str, NativeName] = {
    "string": "string",
    "char": "string",
    "varchar": "string",
    "number": "number",
    "int": "number",
    "integer": "number",
    "float": "number",
    "bigint": "bigint",
    "boolean": "boolean",
    "bool": "boolean",
    "date": "date",
    "object": "object",
    "array": "array",
    "any": "any",
    "undefined": "undefined",
    "never": "never",
    "void": "void",
}
"""Built-in types, also under their other names; case does not matter."""

_CONSTANTS = {"null": None, "true": True, "false": False}
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?")
_GENERIC = re.compile(
    r"(?:Array|Awaited|Date|Error|Exclude|Extract|Function|Lowercase|Map|Object|Omit|Partial|Pick"
    r"|Promise|Readonly|Record|RegExp|Required|Set|Symbol|Uppercase|WeakMap|WeakSet)<"
)
_MOST_ARRAYS = 8
_LONGEST = 20_000

_MEMBER = rf"(?!{_GENERIC.pattern}|(?:\[\])+\s*(?:\||$))[^|\s](?:[^|]*[^|\s])?"
TYPE_PATTERN = (
    rf"^(?:(?!{_GENERIC.pattern}|(?:\[\])+$)[^|]+|\s*{_MEMBER}\s*(?:\|\s*{_MEMBER}\s*)+)$"
)
"""Matches every expression that `parse_type` finds no fault with, and little else; for editors."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A word of a type expression that is wrong or may not mean what it says.

    Attributes:
        kind: `syntax`: it is not a type. `literal`: it was taken for a string literal.
        word: The word, with spaces as they were written.
        start: Index of its first character in the expression.
    """

    kind: Literal["syntax", "literal"]
    word: str
    start: int


def parse_type(text: str, models: Container[str]) -> tuple[TypeExpr, list[Finding]]:
    """Return the type that `text` stands for, and what is to be said about it.

    Args:
        text: The expression.
        models: Names of the models there are.
    """
    findings: list[Finding] = []
    if len(text) > _LONGEST:
        return LiteralType(text), [Finding("syntax", text, 0)]
    if "|" not in text:
        return _member(text, 0, models, findings), findings
    members = []
    start = 0
    for part in text.split("|"):
        word = part.strip()
        at = start + part.index(word) if word else start
        members.append(_member(word, at, models, findings))
        start += len(part) + 1
    return UnionType(tuple(members)), findings


def _member(word: str, start: int, models: Container[str], findings: list[Finding]) -> TypeExpr:
    inner, depth = word, 0
    while inner.endswith("[]"):
        inner, depth = inner[:-2], depth + 1
    if not inner or depth > _MOST_ARRAYS or _GENERIC.match(inner):
        findings.append(Finding("syntax", word, start))
    type_ = _word(inner, start, models, findings)
    for _ in range(min(depth, _MOST_ARRAYS)):
        type_ = ArrayType(type_)
    return type_


def _word(word: str, start: int, models: Container[str], findings: list[Finding]) -> TypeExpr:
    folded = word.lower()
    if folded in NATIVE_WORDS:
        return NativeType(NATIVE_WORDS[folded])
    if folded in _CONSTANTS:
        return LiteralType(_CONSTANTS[folded])
    if word in models:
        return ReferenceType(word)
    if _NUMBER.fullmatch(word):
        number = resolve(word)
        if isinstance(number, int | float) and math.isfinite(number):
            return LiteralType(number)
    if not findings or findings[-1].start != start:
        findings.append(Finding("literal", word, start))
    return LiteralType(word)


def format_type(type_: TypeExpr) -> str:
    """Return a type as one line; what `parse_type` can read it reads back unchanged."""
    match type_:
        case NativeType(name=text) | ReferenceType(model=text):
            shown: str = text
        case LiteralType(value=value):
            shown = _format_literal(value)
        case ArrayType(items=UnionType(members=members)):
            shown = f"[{', '.join(map(format_type, members))}]"
        case ArrayType(items=items):
            shown = f"{format_type(items)}[]"
        case UnionType(members=members):
            shown = " | ".join(map(format_type, members))
        case ObjectType(fields=fields):
            shown = f"{{{', '.join(map(_format_field, fields))}}}"
        case _:
            assert_never(type_)
    return shown


def _format_field(field: Field) -> str:
    return f"{field.name}{'?' if field.optional else ''}: {format_type(field.type)}"


def _format_literal(value: str | float | bool | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    # The grammar knows no exponents.
    return format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)
