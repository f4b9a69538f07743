"""A form of an action's input: a field for each property that one can type, JSON for the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from perdure.errors import InvalidInputError

__all__ = ["InputField", "InvalidFieldError", "form_of", "input_of"]

Kind: TypeAlias = Literal["text", "number", "checkbox", "choice", "json"]

_PREFIX = "input."
_WHOLE = "input"


class InvalidFieldError(InvalidInputError):
    """What was typed cannot be read."""


@dataclass(frozen=True, slots=True)
class InputField:
    """One thing to fill in.

    Attributes:
        name: As it is sent.
        label: The property; empty where the field is the whole input.
        kind: What is typed.
        value: What was typed before.
        help: What the schema says about it.
        options: The only values of a choice.
    """

    name: str
    label: str
    kind: Kind
    required: bool
    value: str = ""
    help: str = ""
    options: Sequence[str] = ()


def form_of(script: Mapping[str, Any], sent: Mapping[str, str]) -> list[InputField]:
    """Return what is asked for to call an action; nothing where it has no input.

    Args:
        script: The action, as `GET /integrations/{key}/functions/{name}` describes it.
        sent: What was filled in before.
    """
    if not script.get("input"):
        return []
    schema = _input_schema(script)
    properties = schema.get("properties")
    if not properties:
        return [InputField(_WHOLE, "", "json", True, sent.get(_WHOLE, ""))]
    required = set(schema.get("required", ()))
    return [
        _field(name, _resolved(part, script), name in required, sent)
        for name, part in properties.items()
    ]


def input_of(script: Mapping[str, Any], sent: Mapping[str, str]) -> Any:
    """Return the input that was filled in, None where the action has none.

    Raises:
        InvalidFieldError: A field is no number or no JSON.
    """
    fields = form_of(script, sent)
    if not fields:
        return None
    if fields[0].name == _WHOLE:
        return _json("the input", sent.get(_WHOLE, ""))
    found: dict[str, Any] = {}
    for field in fields:
        typed = sent.get(field.name, "")
        if field.kind == "checkbox":
            found[field.label] = typed == "yes"
        elif typed or (field.required and field.kind in ("text", "choice")):
            is_text = field.kind in ("text", "choice")
            found[field.label] = typed if is_text else _json(field.label, typed)
    return found


def _field(
    name: str, schema: Mapping[str, Any], required: bool, sent: Mapping[str, str]
) -> InputField:
    key = f"{_PREFIX}{name}"
    options = [
        option
        for part in _alternatives(schema)
        for option in part.get("enum", ())
        if isinstance(option, str)
    ]
    return InputField(
        name=key,
        label=name,
        kind="choice" if options else _kind(schema),
        required=required,
        value=sent.get(key, ""),
        help=str(schema.get("description", "")),
        options=options,
    )


def _kind(schema: Mapping[str, Any]) -> Kind:
    known = {kind for part in _alternatives(schema) for kind in _types(part)} - {"null"}
    if known == {"string"}:
        return "text"
    if known <= {"number", "integer"} and known:
        return "number"
    return "checkbox" if known == {"boolean"} else "json"


def _alternatives(schema: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return what a value may be, one schema for each; mostly there is but one."""
    return [*schema.get("oneOf", ()), *schema.get("anyOf", ())] or [schema]


def _types(schema: Mapping[str, Any]) -> Sequence[str]:
    types = schema.get("type", "object")
    return [types] if isinstance(types, str) else types


def _input_schema(script: Mapping[str, Any]) -> Mapping[str, Any]:
    definitions = (script.get("json_schema") or {}).get("definitions", {})
    schema: Mapping[str, Any] = definitions.get(script["input"], {})
    return schema


def _resolved(schema: Mapping[str, Any], script: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    definitions = (script.get("json_schema") or {}).get("definitions", {})
    found: Mapping[str, Any] = definitions.get(reference.rsplit("/", 1)[-1], {})
    return found


def _json(name: str, typed: str) -> Any:
    try:
        return json.loads(typed)
    except ValueError as error:
        msg = f"{name}: this is no JSON ({error})"
        raise InvalidFieldError(msg, code="invalid_input") from error
