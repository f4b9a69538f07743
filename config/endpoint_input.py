"""What an action gets when it is triggered through its endpoint.

Values in a URL are text; the model of the action's input says what each of them means. A number is
read as a number only where the model wants one, so that `"007"` stays what it is for a model that
wants a string. Text that does not fit is left as it is: validation then says what is wrong with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Never, TypeAlias

from pydantic import JsonValue

from config.endpoints import EndpointMatch, PathParameter
from config.project import (
    ArrayType,
    Field,
    LiteralType,
    NangoConfig,
    NativeType,
    ObjectType,
    ReferenceType,
    TypeExpr,
    UnionType,
)
from perdure.errors import FieldError, InvalidInputError

__all__ = [
    "action_input",
    "input_fields",
    "is_written_as_json",
    "parse_json",
    "path_parameter_field",
]

_ANY = NativeType("any")
_JSON_NATIVES = frozenset({"object", "array"})
_TEXT_NATIVES = frozenset({"string", "date", "any"})

Query: TypeAlias = Mapping[str, Sequence[str]]
"""The values of each query parameter, in order."""


def action_input(
    config: NangoConfig, match: EndpointMatch, query: Query, body: JsonValue, *, has_body: bool
) -> JsonValue:
    """Return the input of an action.

    That is the body, or else the query, and in either case the values of the path. An input that
    is no object can only be given as a body, or as the query parameter `input`.

    Args:
        config: The project.
        match: The endpoint, which is that of an action.
        query: Query parameters; a body makes them meaningless.
        body: Decoded body.
        has_body: Whether there is one.

    Raises:
        InvalidInputError: `invalid_body` or `invalid_query_params`; a name has one value in the
            path and another one there, or the body has no place for the values of the path.
    """
    model = match.target.script.input
    if not has_body:
        return _merged(config, match, _from_query(config, model, query), "invalid_query_params")
    return _merged(config, match, body, "invalid_body") if match.values else body


def input_fields(config: NangoConfig, model: str | None) -> Mapping[str, Field]:
    """Return the fields of an input by name, those of the dynamic kind left out.

    An input that is no object has one field, `input`.
    """
    found = config.model(model) if model else None
    return {field.name: field for field in found.fields if not field.dynamic} if found else {}


def path_parameter_field(
    config: NangoConfig, model: str | None, parameter: PathParameter
) -> tuple[str, Field] | None:
    """Return the field that a value in a path is, with its model; None if that is not known.

    The input has the say, then the model that the placeholder names.

    Args:
        config: The project.
        model: Model of the action's input, None for a sync or where it has none.
        parameter: The value.
    """
    for owner, name in ((model, parameter.name), (parameter.model, parameter.field)):
        field = input_fields(config, owner).get(name)
        if owner and field:
            return owner, field
    return None


def is_written_as_json(type_: TypeExpr) -> bool:
    """Return whether values of a type stand in a query as JSON text, being no plain values."""
    match type_:
        case ReferenceType() | ObjectType():
            return True
        case NativeType(name=name):
            return name in _JSON_NATIVES
        case UnionType(members=members):
            return any(map(is_written_as_json, members))
        case ArrayType(items=items):
            return is_written_as_json(items) or isinstance(items, ArrayType)
        case LiteralType():
            return False


def parse_json(text: str | bytes) -> Any:
    """Return decoded JSON.

    Raises:
        ValueError: It is none; `NaN` and its like are none, either.
    """
    try:
        return json.loads(text, parse_constant=_no_json, parse_float=_finite)
    except RecursionError as error:
        msg = "nested too deeply"
        raise ValueError(msg) from error


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _no_json(number)


def _no_json(constant: str) -> Never:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)


def _from_query(config: NangoConfig, model: str | None, query: Query) -> JsonValue:
    found = config.model(model) if model else None
    fields = {field.name: field for field in found.fields} if found else {}
    dynamic = next((field for field in fields.values() if field.dynamic), None)
    values: dict[str, JsonValue] = {}
    for name, texts in query.items():
        field = fields.get(name, dynamic)
        values[name] = _read_all(field.type if field else _ANY, texts)
    if found and not found.is_anonymous:
        return values
    if found and [*values] == [*fields]:
        return values[found.fields[0].name]
    return values or None


def _merged(config: NangoConfig, match: EndpointMatch, given: JsonValue, code: str) -> JsonValue:
    if not match.values:
        return given
    merged = {} if given is None else given
    if not isinstance(merged, dict):
        names = ", ".join(f"`{name}`" for name in match.values)
        msg = f"The path gives {names}, so the input has to be an object."
        raise InvalidInputError(msg, code=code)
    model = match.target.script.input
    conflicts = []
    values: dict[str, JsonValue] = {}
    for parameter in match.target.template.parameters:
        name, text = parameter.name, match.values[parameter.name]
        if name not in merged:
            found = path_parameter_field(config, model, parameter)
            values[name] = _read(found[1].type, text) if found else text
        elif _text(merged[name]) != text:
            msg = f"`{name}` is not what the path says; leave one of them out."
            conflicts.append(FieldError("conflict", msg, (name,)))
    if conflicts:
        raise InvalidInputError(conflicts[0].message, code=code, errors=conflicts)
    return merged | values


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read_all(type_: TypeExpr, texts: Sequence[str]) -> JsonValue:
    """Return what the values of one query parameter mean together."""
    arrays = [member for member in _members(type_) if isinstance(member, ArrayType)]
    if len(texts) == 1 and (is_written_as_json(type_) or not arrays):
        return _read(type_, texts[0])
    return [_read(arrays[0].items if arrays else _ANY, text) for text in texts]


def _read(type_: TypeExpr, text: str) -> JsonValue:
    if any(_allows_text(member, text) for member in _members(type_)):
        return text
    try:
        value: JsonValue = parse_json(text)
    except ValueError:
        return text
    return text if isinstance(value, str) else value


def _members(type_: TypeExpr) -> Sequence[TypeExpr]:
    if not isinstance(type_, UnionType):
        return (type_,)
    return [inner for member in type_.members for inner in _members(member)] or [_ANY]


def _allows_text(type_: TypeExpr, text: str) -> bool:
    match type_:
        case NativeType(name=name):
            return name in _TEXT_NATIVES
        case LiteralType(value=value):
            return value == text
        case _:
            return False
