"""The page of requests and answers, from the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

from docstring_parser import DocstringStyle, parse

from api.app import api_document
from api.scopes import RULES

__all__ = ["rest_page"]

_HEAD = """# Requests and answers

Each endpoint with what it takes and gives, as `/openapi.json` of a server describes it. [The REST
API](../rest.md) says what holds for all of them, and lists them by what they are for. The objects
stand [at the end](#objects).

"""

Json = dict[str, Any]

_LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "at least",
    "maxLength": "at most",
}


def rest_page() -> str:
    """Every operation of the document, by its tag, then every object."""
    document = api_document()
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            shown = _operation(method.upper(), path, operation)
            by_tag.setdefault(operation["tags"][0], []).append(shown)
    parts = [f"## {tag.capitalize()}\n\n{''.join(by_tag[tag])}" for tag in sorted(by_tag)]
    objects = [_object(name, schema) for name, schema in _objects(document).items()]
    return (_HEAD + "".join(parts) + "## Objects\n\n" + "".join(objects)).rstrip() + "\n"


def _operation(method: str, path: str, operation: Json) -> str:
    parts = [f"### {method} {path}", _text(operation.get("description", ""))]
    if scope := _scope(method, path):
        parts.append(f"Scope: {scope}.")
    if rows := [_row(p["name"], p["schema"], p) for p in operation.get("parameters", ())]:
        places = [p["in"] for p in operation["parameters"]]
        told = [f"| {row} | {place} |" for row, place in zip(rows, places, strict=True)]
        parts.append("\n".join(["| Parameter | Type | | In |", "| --- | --- | --- | --- |", *told]))
    if body := operation.get("requestBody"):
        parts.append(f"Body: {_content(body)}")
    answers = [
        f"{status} {_content(answer)}"
        for status, answer in operation["responses"].items()
        if status.startswith("2")
    ]
    parts.append(f"Answers: {'; '.join(answers)}")
    return "".join(f"{part}\n\n" for part in parts if part)


def _scope(method: str, path: str) -> str:
    for (ruled, place), rule in RULES.items():
        if ruled in (method, "*") and place.replace(":path}", "}") == path and rule.scopes:
            return " or ".join(f"`{scope}`" for scope in rule.scopes)
    return ""


def _content(part: Json) -> str:
    kinds = part.get("content") or {}
    shown = [_type(content.get("schema", {})) or f"`{kind}`" for kind, content in kinds.items()]
    return " or ".join(dict.fromkeys(shown)) or _text(part.get("description", ""))


def _objects(document: Json) -> Json:
    schemas: Json = document["components"]["schemas"]
    return dict(sorted(schemas.items()))


def _object(name: str, schema: Json) -> str:
    told = parse(schema.get("description", ""), style=DocstringStyle.GOOGLE)
    about = {attribute.arg_name: attribute.description for attribute in told.params}
    parts = [f"### {name}", _text(told.description or "")]
    if fields := schema.get("properties"):
        required = schema.get("required", ())
        rows = []
        for field, value in fields.items():
            terms = {"required": field in required, "description": about.get(field)}
            rows.append(f"| {_row(field, value, terms)} |")
        parts.append("\n".join(["| Field | Type | |", "| --- | --- | --- |", *rows]))
    else:
        parts.append(_type(schema) or "Any JSON.")
    return "".join(f"{part}\n\n" for part in parts if part)


def _row(name: str, schema: Json, terms: Json) -> str:
    meaning = [_text(terms.get("description") or schema.get("description", ""))]
    if schema.get("deprecated") or terms.get("deprecated"):
        meaning.append("Of older clients.")
    if schema.get("default") is not None:
        meaning.append(f"Default `{json.dumps(schema['default'])}`.")
    if terms.get("required"):
        meaning.append("Required.")
    return f"`{name}` | {_type(schema)} | {' '.join(part for part in meaning if part)}".rstrip()


def _type(schema: Json) -> str:
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            shown = [_type(option) for option in schema[several] if option.get("type") != "null"]
            null = ["null"] if any(o.get("type") == "null" for o in schema[several]) else []
            return " or ".join(dict.fromkeys([*shown, *null]))
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else None):
        return " or ".join(f"`{json.dumps(value)}`" for value in values)
    return _plain_type(schema)


def _plain_type(schema: Json) -> str:
    kind = schema.get("type", "any JSON")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    limits = [f"{words} {schema[key]:,}" for key, words in _LIMITS.items() if key in schema]
    shown = schema.get("format") or kind
    return f"{shown} ({', '.join(limits)})" if limits else str(shown)


def _text(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
