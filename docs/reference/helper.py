"""The page of the helper, from the abstract classes that script authors import."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from docstring_parser import DocstringStyle, parse

import perdure
from perdure import NangoAction, NangoSync, Pages

__all__ = ["camel_names", "helper_page", "public_names"]

_HELPER = Path(__file__).parents[1] / "helper.md"
_PAIRS = re.compile(r"^\| (`[^|]*nango\.[^|]*) \| ([^|]*) \|", re.MULTILINE)
_NAME = re.compile(r"nango\.(\w+)")

_HEAD = """# The helper, call by call

What the classes say that `from perdure import ...` gives. [The helper](../helper.md) tells the
same in the order in which one needs it, with what happens when things fail. Names in parentheses
are those of Nango's TypeScript helper.

"""


def camel_names() -> dict[str, str]:
    """Names in Python with those in camelCase, as the tables of `docs/helper.md` have them."""
    found: dict[str, str] = {}
    for python, camel in _PAIRS.findall(_HELPER.read_text()):
        names = _NAME.findall(python)
        found |= dict(zip(names, _NAME.findall(camel) or [""] * len(names), strict=True))
    return found


def public_names(cls: type) -> list[str]:
    """Calls of a class in the order in which they are written, those of its bases last."""
    seen: dict[str, None] = {}
    for owner in cls.__mro__:
        for name, value in vars(owner).items():
            if not name.startswith("_") and inspect.isfunction(value):
                seen.setdefault(name)
    return list(seen)


def helper_page() -> str:
    """Every call of the helper with its signature and docstring."""
    camel = camel_names()
    of_action = public_names(NangoAction)
    of_sync = [name for name in public_names(NangoSync) if name not in of_action]
    parts = [_HEAD, _class(NangoAction, of_action, camel), _class(NangoSync, of_sync, camel)]
    parts.append(_class(Pages, public_names(Pages), {}, instance="pages"))
    parts += [_plain(getattr(perdure, name)) for name in ("RequestOptions", "Response")]
    errors = ("ActionError", "HttpError", "HelperError", "EachError")
    parts += [_plain(getattr(perdure, name)) for name in errors]
    return "".join(parts).rstrip() + "\n"


def _plain(cls: type) -> str:
    return f"## `{cls.__name__}`\n\n{_described(cls)}"


def _class(cls: type, names: list[str], camel: dict[str, str], instance: str = "nango") -> str:
    calls = [_call(getattr(cls, name), name, camel.get(name, ""), instance) for name in names]
    return f"{_plain(cls)}{''.join(calls)}"


def _call(function: Any, name: str, camel: str, instance: str) -> str:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1:]
    shown = ", ".join(_parameter(parameter) for parameter in _with_star(parameters))
    waits = "await " if inspect.iscoroutinefunction(function) else ""
    returned = "" if signature.return_annotation == "None" else f" -> {signature.return_annotation}"
    title = f"### `{instance}.{name}`" + (f" (`nango.{camel}`)" if camel and camel != name else "")
    call = f"{waits}{instance}.{name}({shown}){returned}"
    return f"{title}\n\n```python\n{call}\n```\n\n{_described(function)}"


def _with_star(parameters: list[inspect.Parameter]) -> list[inspect.Parameter | None]:
    shown: list[inspect.Parameter | None] = []
    for parameter in parameters:
        keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        variadic = any(p is not None and p.kind is inspect.Parameter.VAR_POSITIONAL for p in shown)
        if keyword_only and None not in shown and not variadic:
            shown.append(None)
        shown.append(parameter)
    return shown


def _parameter(parameter: inspect.Parameter | None) -> str:
    if parameter is None:
        return "*"
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    text = stars.get(parameter.kind.name, "") + parameter.name
    return text if parameter.default is parameter.empty else f"{text}={parameter.default!r}"


def _described(thing: Any) -> str:
    told = parse(inspect.getdoc(thing) or "", style=DocstringStyle.GOOGLE)
    parts = [told.short_description or "", told.long_description or ""]
    if told.params:
        parts.append("\n".join(f"- `{p.arg_name}`: {_line(p.description)}" for p in told.params))
    if told.returns:
        parts.append(f"Returns: {_line(told.returns.description)}")
    if told.raises:
        parts.append(
            "\n".join(f"- raises `{r.type_name}`: {_line(r.description)}" for r in told.raises)
        )
    return "".join(f"{part}\n\n" for part in parts if part)


def _line(text: str | None) -> str:
    return " ".join((text or "").split())
