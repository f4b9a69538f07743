"""`.nango/schema.json`: it says what `nango.yaml` says, and agrees with the generated classes."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, FormatChecker
from pydantic import TypeAdapter, ValidationError

from config.json_schema import generate_schema_json
from config.models_py import generate_models_py
from config.nango_yaml import parse_nango_yaml
from config.project import (
    ArrayType,
    Field,
    LiteralType,
    Model,
    NangoConfig,
    NativeType,
    ObjectType,
    ReferenceType,
    TypeExpr,
    UnionType,
)

EVERYTHING = """
integrations:
  acme:
    actions:
      flip: {endpoint: /flip, input: "Issue[] | lonely | null"}
models:
  Issue:
    __extends: Base
    title: string
    number: integer
    big: bigint
    open: bool
    state: open | closed | null
    state_or_text: open | string
    five: 5
    half: 1.5
    nothing: null
    meta: object
    list: array
    whatever: any
    undef: undefined
    maybe: User | undefined
    author: User
    assignees: User[]
    matrix: number[][]
    who: User | Team
    labels:
      - string
      - name: string
        color?: string
    milestone: {id: string, due?: date, class: string}
    blank: {}
    map: {__string: User}
    parent?: Issue
    reviewer?: User | null
    due?: date
  Base: {id: string, created: date}
  User:
    id: string
    friends?: User[]
    __string: number | string | Team[] | null
  Team: {name: string}
  Empty: {}
"""

USER = {"id": "u", "friends": [{"id": "v"}], "score": 5}
ISSUE = {
    "id": "1",
    "created": "2024-05-06T07:08:09Z",
    "title": "t",
    "number": 7.5,
    "big": 2**70,
    "open": True,
    "state": None,
    "state_or_text": "open",
    "five": 5,
    "half": 1.5,
    "nothing": None,
    "meta": {"a": [1]},
    "list": [1, "2", None],
    "whatever": None,
    "author": USER,
    "assignees": [USER],
    "matrix": [[1, 2.5], []],
    "who": {"id": "u", "name": "both a user and a team"},
    "labels": ["x", {"name": "y"}],
    "milestone": {"id": "m", "class": "c"},
    "blank": {"any": "thing"},
    "map": {"k": USER},
    "more": "is kept",
}
LEFT_OUT = object()

CHANGES: list[tuple[str, object, bool]] = [
    ("id", LEFT_OUT, False),
    ("id", 5, False),
    ("created", LEFT_OUT, False),
    ("created", "soon", False),
    ("created", 1715000000, False),
    ("number", "7", False),
    ("number", True, False),
    ("number", None, False),
    ("big", 1.5, False),
    ("open", "true", False),
    ("open", 1, False),
    ("state", "opne", False),
    ("state", "closed", True),
    ("state", LEFT_OUT, False),
    ("state_or_text", "anything", True),
    ("state_or_text", None, False),
    ("five", 6, False),
    ("half", 2.5, True),
    ("nothing", 0, False),
    ("nothing", LEFT_OUT, False),
    ("meta", [], False),
    ("list", {}, False),
    ("whatever", {"b": [1]}, True),
    ("whatever", LEFT_OUT, False),
    ("undef", None, True),
    ("undef", 1, False),
    ("maybe", None, True),
    ("maybe", USER, True),
    ("maybe", {"name": "no id"}, False),
    ("author", {"id": "u", "score": True}, False),
    ("author", {"id": "u", "teams": [{"name": "t"}]}, True),
    ("author", {"id": "u", "teams": [{"nome": "t"}]}, False),
    ("author", {"id": "u", "friends": None}, True),
    ("author", {"id": "u", "friends": [None]}, False),
    ("assignees", USER, False),
    ("matrix", [1], False),
    ("who", {"name": "a team"}, True),
    ("who", {"neither": 1}, False),
    ("labels", [{"name": "y", "color": None}], True),
    ("labels", [{"color": "red"}], False),
    ("milestone", {"id": "m", "class": "c", "due": "2024-05-06T00:00:00+02:00"}, True),
    ("milestone", {"id": "m", "class": "c", "due": "may"}, False),
    ("milestone", {"id": "m"}, False),
    ("blank", [], False),
    ("map", {"k": {"no": "id"}}, False),
    ("parent", None, True),
    ("parent", {"id": "not a whole issue"}, False),
    ("reviewer", USER, True),
    ("due", None, True),
    ("due", "2024-05-06T00:00:00Z", True),
]

_names = (f"schema_models_{number}" for number in itertools.count())
_formats = FormatChecker(formats=())


@_formats.checks("date-time")
def _is_rfc3339(value: object) -> bool:
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
    return not isinstance(value, str) or bool(re.fullmatch(pattern, value))


def config_of(text: str) -> NangoConfig:
    result = parse_nango_yaml(text)
    assert result.config, result.errors
    return result.config


@contextmanager
def judges(config: NangoConfig, model: str) -> Iterator[tuple[Callable[[object], bool], ...]]:
    """What JSON Schema, and what the generated class in strict mode, say about a JSON value."""
    document = json.loads(generate_schema_json(config))
    Draft7Validator.check_schema(document)
    schema = {**document, "$ref": f"#/definitions/{model}"}
    validator = Draft7Validator(schema, format_checker=_formats)
    module = ModuleType(next(_names))
    sys.modules[module.__name__] = module
    try:
        exec(compile(generate_models_py(config), "models.py", "exec"), module.__dict__)
        adapter: TypeAdapter[Any] = TypeAdapter(module.MODELS[model])
        adapter.rebuild(raise_errors=False)

        def pydantic_takes(value: object) -> bool:
            try:
                adapter.validate_json(json.dumps(value), strict=True)
            except ValidationError:
                return False
            return True

        yield validator.is_valid, pydantic_takes
    finally:
        del sys.modules[module.__name__]


def test_schema_reads_well() -> None:
    text = """
integrations: {acme: {actions: {do: {endpoint: /x, input: "Issue[]"}}}}
models:
  Issue:
    id: string
    state: open | closed
    size: small | number
    who: Issue | User
    closed_at?: date
    User: User | null
  User: {__string: "string[]"}
"""
    document = json.loads(generate_schema_json(config_of(text)))

    assert document == {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Models of nango.yaml. Generated by Perdure; edits are lost.",
        "definitions": {
            "Issue": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "state": {"enum": ["open", "closed"]},
                    "size": {"oneOf": [{"const": "small"}, {"type": "number"}]},
                    "who": {
                        "anyOf": [{"$ref": "#/definitions/Issue"}, {"$ref": "#/definitions/User"}]
                    },
                    "closed_at": {
                        "oneOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]
                    },
                    "User": {"oneOf": [{"$ref": "#/definitions/User"}, {"type": "null"}]},
                },
                "required": ["id", "state", "size", "who", "User"],
            },
            "User": {
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "string"}},
            },
            "Anonymous_acme_action_do_input": {
                "type": "array",
                "items": {"$ref": "#/definitions/Issue"},
            },
        },
    }


def test_same_config_gives_the_same_text() -> None:
    assert generate_schema_json(config_of(EVERYTHING)) == generate_schema_json(
        config_of(EVERYTHING)
    )


def test_schema_and_classes_agree_on_a_record_and_on_each_change_of_it() -> None:
    with judges(config_of(EVERYTHING), "Issue") as (schema_takes, pydantic_takes):
        assert (schema_takes(ISSUE), pydantic_takes(ISSUE)) == (True, True)
        for field, value, good in CHANGES:
            changed = {**ISSUE, field: value}
            if value is LEFT_OUT:
                del changed[field]
            said = (schema_takes(changed), pydantic_takes(changed))
            assert said == (good, good), (field, value)


@pytest.mark.parametrize(
    ("value", "good"), [([ISSUE], True), ("lonely", True), (None, True), ({}, False), ("x", False)]
)
def test_model_made_for_an_expression_is_that_expression(value: object, good: bool) -> None:
    name = "Anonymous_acme_action_flip_input"
    with judges(config_of(EVERYTHING), name) as (schema_takes, pydantic_takes):
        assert (schema_takes(value), pydantic_takes(value)) == (good, good)


# Where the two differ by nature is left out: for Python `1` is `true` and `5.0` no integer.
_keys = st.sampled_from(["id", "a", "b", "other"])
_natives = ("string", "date", "number", "boolean", "object", "array", "any", "void", "never")
_words = st.sampled_from(["a", "b", "2024-05-06T00:00:00Z"])
_values = _words | st.none() | st.booleans() | st.sampled_from([3, 4, 2.5])
_leaves: st.SearchStrategy[TypeExpr] = st.sampled_from(
    [*map(NativeType, _natives), ReferenceType("M"), ReferenceType("N")]
) | st.builds(LiteralType, _values)


def _fields(types: st.SearchStrategy[TypeExpr]) -> st.SearchStrategy[tuple[Field, ...]]:
    named = st.lists(st.builds(Field, _keys, types, st.booleans()), max_size=3)
    unique = named.map(lambda fields: tuple({field.name: field for field in fields}.values()))
    dynamic = st.builds(Field, st.just("__string"), types, dynamic=st.just(True))
    return unique | st.builds(lambda fields, last: (*fields, last), unique, dynamic)


_types = st.recursive(
    _leaves,
    lambda types: (
        st.builds(ArrayType, types)
        | st.builds(UnionType, st.lists(types, max_size=3).map(tuple))
        | st.builds(ObjectType, _fields(types))
    ),
    max_leaves=6,
)
_json = st.recursive(
    _values,
    lambda values: st.lists(values, max_size=2) | st.dictionaries(_keys, values, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    _fields(_types),
    _fields(_types),
    st.lists(st.dictionaries(_keys, _json, max_size=4), min_size=20, max_size=20),
)
def test_schema_and_classes_agree_on_anything(
    first: tuple[Field, ...], second: tuple[Field, ...], samples: list[object]
) -> None:
    config = NangoConfig("v2", (), (Model("M", first), Model("N", second)))
    with judges(config, "M") as (schema_takes, pydantic_takes):
        for sample in samples:
            assert schema_takes(sample) == pydantic_takes(sample), sample
