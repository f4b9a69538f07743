"""Says whether values fit a model, without making anything of them.

pydantic makes an instance of every object that it checks, which costs more than the check. The
validator here asks the same of the same JSON; what fits it fits the model, and what does not is
held against the model itself, to learn why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaValidator

__all__ = ["fitting"]

_MODEL, _FIELDS, _UNION = "model", "model-fields", "union"
# Of both names that a field with an alias has, as the models of a bundle have it.
_BY_BOTH_NAMES = {"validate_by_name": True, "validate_by_alias": True}


def fitting(type_: Any) -> Callable[[bytes], Any]:
    """Return what raises where a value, as JSON, does not fit a type; it returns nothing of use.

    Args:
        type_: Any type that pydantic understands.

    Returns:
        A function that raises `pydantic.ValidationError`.
    """
    adapter = TypeAdapter(type_)
    adapter.rebuild(raise_errors=False)
    validator = SchemaValidator(_lean(adapter.core_schema))

    def check(json: bytes) -> Any:
        return validator.validate_json(json, strict=True)

    return check


def _lean(schema: Any) -> Any:
    """Return a schema that takes the same JSON and makes plain objects of it."""
    if isinstance(schema, list):
        return [_lean(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    kind = schema.get("type")
    if kind == _MODEL and not schema.get("root_model") and schema["schema"]["type"] == _FIELDS:
        return _with_ref(schema, _typed_dict(schema["schema"]))
    lean = {name: _lean(part) for name, part in schema.items() if name != "metadata"}
    if kind == _UNION:
        # Which of them it is does not matter; the first that fits will do.
        lean["mode"] = "left_to_right"
    return lean


def _typed_dict(fields: Mapping[str, Any]) -> dict[str, Any]:
    lean: dict[str, Any] = {
        "type": "typed-dict",
        "fields": {name: _field(part) for name, part in fields["fields"].items()},
        "extra_behavior": "ignore",
        "config": _BY_BOTH_NAMES,
    }
    if "extras_schema" in fields:
        lean |= {"extra_behavior": "allow", "extras_schema": _lean(fields["extras_schema"])}
    return lean


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    lean = {
        "type": "typed-dict-field",
        "schema": _lean(field["schema"]),
        "required": field["schema"]["type"] != "default",
    }
    if "validation_alias" in field:
        lean["validation_alias"] = field["validation_alias"]
    return lean


def _with_ref(schema: Mapping[str, Any], lean: dict[str, Any]) -> dict[str, Any]:
    return {**lean, "ref": schema["ref"]} if "ref" in schema else lean
