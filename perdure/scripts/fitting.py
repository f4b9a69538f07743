"""Says whether values fit a model, without making anything of them.

pydantic makes an instance of every object that it checks, which costs more than the check. The
validators here ask the same, of the same JSON or of the objects that will be written as that; what
fits them fits the model, and what does not is held against the model itself, to learn why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from perdure.records.canonical import to_json

__all__ = ["fitting"]

_MODEL, _FIELDS, _UNION = "model", "model-fields", "union"
# Of both names that a field with an alias has, as the models of a bundle have it.
_BY_BOTH_NAMES = {"validate_by_name": True, "validate_by_alias": True, "strict": True}
# NaN and the infinities are written as null.
_FINITE = {"allow_inf_nan": False}
# A moment is written as text. An object that is one is left to the check of its JSON, and so is
# what may be a day, of which a check that is not strict would make a moment.
_AS_TEXT = {"type": "str", "strict": True, "min_length": len("2024-01-01") + 1}


def fitting(type_: Any) -> Callable[[Any], bool]:
    """Return what says whether a value, written as JSON, fits a type.

    Args:
        type_: Any type that pydantic understands.

    Returns:
        A function of a value that `perdure.records.canonical.to_json` can write, which need not
        have been tried. What that can write and pydantic does not read fits, too: strings with
        unpaired surrogates, which are written escaped, and lists within 200 lists.
    """
    adapter = TypeAdapter(type_)
    adapter.rebuild(raise_errors=False)
    schema = _lean(adapter.core_schema)
    fits_as_it_is = SchemaValidator(_of_objects(schema), {"strict": True}).isinstance_python
    fits_as_json = SchemaValidator(schema).validate_json

    def fits(value: Any) -> bool:
        # Most do, and need not be written for it.
        if fits_as_it_is(value):
            return True
        try:
            fits_as_json(to_json(value), strict=True)
        except (TypeError, ValidationError):
            return False
        return True

    return fits


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


def _of_objects(schema: Any) -> Any:
    """Return a lean schema that takes objects, and of these only what the other takes as JSON."""
    if isinstance(schema, list):
        return [_of_objects(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    kind = schema.get("type")
    if kind == "datetime":
        return {"type": "chain", "steps": [_AS_TEXT, {**schema, "strict": False}]}
    of_objects = {name: _of_objects(part) for name, part in schema.items()}
    return {**of_objects, **_FINITE} if kind == "float" else of_objects
