"""Makes whatever a script produced fit for a history, a log or an answer."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

__all__ = ["clean", "plain_json", "shown"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return a text that can be encoded: unpaired surrogates are replaced."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def shown(value: object) -> str:
    """Return a value as text, even where its own `__str__` fails."""
    try:
        return clean(str(value))
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not hide what is shown
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def plain_json(value: Any) -> Any:
    """Return a value as plain JSON; what is no JSON becomes its text."""
    try:
        return from_json(to_json(value, fallback=shown, inf_nan_mode="null"))
    except (PydanticSerializationError, UnicodeError, ValueError):
        return shown(value)
