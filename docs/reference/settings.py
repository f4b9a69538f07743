"""The page of settings, from `config/settings.py`."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from config.settings import Settings

__all__ = ["settings_page"]

_HEAD = """# Settings

Environment variables of `perdure api`, `perdure worker` and `perdure migrate`. `perdure dev` sets
what its own processes need and hands all others on. [Operations](../operations.md) says what to
set on a cluster.

| Variable | Default | |
| --- | --- | --- |
"""


def settings_page() -> str:
    """Every setting with its default, its limits and what it means."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return _HEAD + "".join(rows)


def _row(name: str, field: FieldInfo) -> str:
    match field.validation_alias:
        case AliasChoices(choices=choices):
            variables = [str(choice) for choice in choices]
        case str(alias):
            variables = [alias]
        case _:
            variables = [f"PERDURE_{name.upper()}"]
    shown = ", ".join(f"`{variable}`" for variable in variables)
    meaning = " ".join(part for part in (field.description, _limits(field)) if part)
    return f"| {shown} | {_default(field.default)} | {meaning} |\n"


def _default(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == ():
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _limits(field: FieldInfo) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most"}
    found = [
        f"{words[kind]} {getattr(limit, kind):,}"
        for limit in field.metadata
        for kind in words
        if hasattr(limit, kind)
    ]
    if choices := getattr(field.annotation, "__args__", ()):
        names = [choice for choice in choices if isinstance(choice, str)]
        found += [" or ".join(f"`{name}`" for name in names)] if names else []
    return f"({', '.join(found)})" if found else ""
