"""Finds pages that are saved past the script, and checks the functions they are given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from perdure.scripts.lint_findings import Finding, LintCode
from perdure.scripts.lint_source import PAGE_FUNCTIONS, FunctionNode, Unit, is_helper

__all__ = ["PageCall", "page_calls"]

_VERBS = frozenset({"delete", "save"})


class PageCall(NamedTuple):
    """A call of `save` or `delete` of pages.

    Attributes:
        node: The call.
        verb: Which of the two.
        is_direct: Whether it is made of `nango.paginate(...)` itself, and not of a variable.
    """

    node: ast.Call
    verb: str
    is_direct: bool

    @property
    def model(self) -> tuple[str, ast.expr] | None:
        """The model that it names and where, None if it is no literal."""
        given = next((k.value for k in self.node.keywords if k.arg == "model"), None)
        if given is None and self.node.args:
            given = self.node.args[0]
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            return given.value, given
        return None

    def check_functions(self, unit: Unit) -> Iterator[Finding]:
        """Yield the functions that could not be found by their name, or would be awaited."""
        inside = {
            node.name: node for node in unit.parents if isinstance(node, FunctionNode) and unit.name
        }
        for name, given in _functions(self.node):
            what = f"`{self.verb}({name}=...)` of pages"
            own = unit.file.units.get(given.id) if isinstance(given, ast.Name) else None
            message = None
            if isinstance(given, ast.Lambda):
                message = f"{what} needs a function with a name, at the top level of a module."
            elif isinstance(given, ast.Name) and given.id in inside:
                message = f"{what} needs a function at the top level; `{given.id}` stands inside."
            elif own is not None and isinstance(own.node, ast.AsyncFunctionDef):
                message = f"{what} needs a plain function; `{own.name}` is async."
            if message:
                hint = "it runs outside the workflow: write `def name(item): ...` and pass the name"
                yield unit.file.finding(LintCode.INVALID_STEP, message, given, hint=hint)


def page_calls(unit: Unit) -> Iterator[PageCall]:
    """Yield the calls of `save` and `delete` of what `nango.paginate` returned."""
    names = _named_pages(unit)
    for node in unit.parents:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        verb, value = node.func.attr, node.func.value
        if verb in _VERBS:
            is_direct = _is_paginate(value, unit)
            if is_direct or (isinstance(value, ast.Name) and value.id in names):
                yield PageCall(node, verb, is_direct)


def _functions(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    for keyword in call.keywords:
        if keyword.arg in PAGE_FUNCTIONS:
            yield keyword.arg, keyword.value


def _named_pages(unit: Unit) -> frozenset[str]:
    """Return the variables that hold nothing but pages."""
    found: dict[str, bool] = {}
    for node in unit.parents:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            parent = unit.parents[node]
            is_pages = isinstance(parent, ast.Assign | ast.AnnAssign) and (
                parent.value is not None and _is_paginate(parent.value, unit)
            )
            found[node.id] = found.get(node.id, True) and is_pages
    return frozenset(name for name, holds in found.items() if holds)


def _is_paginate(node: ast.expr, unit: Unit) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "paginate"
        and is_helper(node.func.value, unit)
    )
