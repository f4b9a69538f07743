"""Forms of actions: fields follow the JSON Schema of the input, and what is typed becomes it."""

from __future__ import annotations

from typing import Any

import pytest

from api.dashboard.schema_forms import InvalidFieldError, form_of, input_of

NULL = {"type": "null"}
PROPERTIES: dict[str, Any] = {
    "title": {"type": "string", "description": "What it is about"},
    "body": {"oneOf": [{"type": "string"}, NULL]},
    "estimate": {"anyOf": [{"type": "number"}, NULL]},
    "count": {"type": ["integer", "null"]},
    "draft": {"oneOf": [{"type": "boolean"}, NULL]},
    "kind": {"enum": ["bug", "feature"]},
    "mood": {"oneOf": [{"enum": ["good", "bad"]}, NULL]},
    "labels": {"type": "array", "items": {"type": "string"}},
    "author": {"$ref": "#/definitions/Author"},
    "loose": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "anything": {},
}


def action(schema: dict[str, Any] | None = None, name: str | None = "NewIssue") -> dict[str, Any]:
    issue = {"type": "object", "properties": PROPERTIES, "required": ["title", "kind"]}
    author = {"type": "object", "properties": {"name": {"type": "string"}}}
    definitions = {"NewIssue": schema or issue, "Author": author}
    return {"input": name, "json_schema": {"definitions": definitions}}


def test_each_property_has_the_field_that_fits_it() -> None:
    kinds = {field.label: field.kind for field in form_of(action(), {})}

    assert kinds == {
        "title": "text",
        "body": "text",
        "estimate": "number",
        "count": "number",
        "draft": "checkbox",
        "kind": "choice",
        "mood": "choice",
        "labels": "json",
        "author": "json",
        "loose": "json",
        "anything": "json",
    }


def test_field_says_what_the_schema_says() -> None:
    fields = {field.label: field for field in form_of(action(), {"input.title": "Typed"})}

    assert fields["title"].help == "What it is about"
    assert fields["title"].value == "Typed"
    assert fields["title"].required
    assert not fields["body"].required
    assert list(fields["mood"].options) == ["good", "bad"]


def test_what_is_typed_becomes_the_input() -> None:
    sent = {
        "input.title": "123",
        "input.body": "",
        "input.estimate": "2.5",
        "input.draft": "yes",
        "input.kind": "bug",
        "input.labels": '["a"]',
        "input.author": '{"name": "ada"}',
    }
    assert input_of(action(), sent) == {
        "title": "123",
        "estimate": 2.5,
        "draft": True,
        "kind": "bug",
        "labels": ["a"],
        "author": {"name": "ada"},
    }


def test_action_without_input_asks_for_nothing() -> None:
    assert form_of(action(name=None), {}) == []
    assert input_of(action(name=None), {"input.title": "x"}) is None


def test_input_that_is_no_object_is_one_field() -> None:
    script = action({"type": "array", "items": {"type": "string"}})
    (field,) = form_of(script, {})
    assert (field.kind, field.label) == ("json", "")
    assert input_of(script, {"input": '["a"]'}) == ["a"]


@pytest.mark.parametrize(
    "sent", [{"input.estimate": "two"}, {"input.labels": "[a"}, {"input.author": "ada"}]
)
def test_what_cannot_be_read_is_told_by_its_name(sent: dict[str, str]) -> None:
    with pytest.raises(InvalidFieldError, match=next(iter(sent)).removeprefix("input.")):
        input_of(action(), sent)
