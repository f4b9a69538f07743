"""How the fields of a provider entry are written: what the models of this package share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue, StringConstraints

__all__ = [
    "Entry",
    "HeaderName",
    "HeaderNames",
    "HeaderTemplates",
    "Params",
    "StatusPattern",
    "StatusPatterns",
    "Templates",
    "Texts",
]


class Entry(BaseModel):
    """A part of an entry; fields that nothing here reads are kept as they are."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        populate_by_name=True,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
    )


def _one_or_many(value: object) -> object:
    if value is None:
        return ()
    return (value,) if isinstance(value, str | int) else value


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _as_texts(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _as_text(text) for name, text in value.items() if text is not None}
    return {} if value is None else value


def _nothing_is_empty(value: object) -> object:
    return {} if value is None else value


HeaderName = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1)]
HeaderNames = Annotated[tuple[HeaderName, ...], BeforeValidator(_one_or_many)]

Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]
"""Several texts; one may stand without a list."""

Templates = Annotated[dict[str, str], BeforeValidator(_as_texts)]
"""Templates by name; what is empty is left out, numbers and flags become text."""

HeaderTemplates = Annotated[dict[HeaderName, str], BeforeValidator(_as_texts)]
"""Templates by the lower-case name of their header."""

Params: TypeAlias = Annotated[dict[str, JsonValue], BeforeValidator(_nothing_is_empty)]
"""What goes into a form, a query or a body: texts are templates, mappings and lists may nest."""

StatusPattern = Annotated[
    str,
    BeforeValidator(_as_text),
    StringConstraints(pattern=r"^(\d{3}|\dxx|\d{3}-\d{3})$", to_lower=True, strip_whitespace=True),
]
StatusPatterns = Annotated[tuple[StatusPattern, ...], BeforeValidator(_one_or_many)]
