"""Partial records merged into whole ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdure.records.canonical import JsonObject

__all__ = ["deep_merge"]


def deep_merge(base: Mapping[str, Any], partial: Mapping[str, Any]) -> JsonObject:
    """Return a record with the fields of another over it.

    Where both have an object, the objects are merged in the same way. Anything else, lists and
    null included, takes the place of what was there. Fields that are new come last.

    Args:
        base: The whole record; left as it is.
        partial: What is to change; left as it is.
    """
    merged = dict(base)
    waiting: list[tuple[JsonObject, Mapping[str, Any]]] = [(merged, partial)]
    while waiting:
        target, source = waiting.pop()
        for key, value in source.items():
            present = target.get(key)
            if isinstance(present, Mapping) and isinstance(value, Mapping):
                inner = dict(present)
                target[key] = inner
                waiting.append((inner, value))
            else:
                target[key] = value
    return merged
