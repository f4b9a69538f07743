"""Checks calls of the `nango` helper: that they exist, are awaited, and name models of the sync.

The helper's classes say what there is and what must be awaited, so this follows them by itself.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Collection, Iterator, Sequence

from perdure.nango import NangoAction, NangoSync
from perdure.nango.naming import python_name
from perdure.scripts.bundle import ScriptKind
from perdure.scripts.lint_findings import DeclaredScript, Finding, LintCode, Severity
from perdure.scripts.lint_pages import page_calls
from perdure.scripts.lint_source import Unit

__all__ = ["check_awaits", "check_helper_calls", "check_order", "named_model"]

_MODEL_ARGUMENT = {
    "batch_delete": 1,
    "batch_save": 1,
    "batch_update": 1,
    "delete_records_from_previous_executions": 0,
    "get_records_by_ids": 1,
    "list_records": 0,
    "set_merging_strategy": 1,
    "track_deletes_end": 0,
    "track_deletes_start": 0,
}
"""Where the methods of the helper that work on records take the name of a model."""


_REQUESTS = frozenset({"delete", "get", "paginate", "patch", "post", "proxy", "put"})
_BATCHES = frozenset({"batch_delete", "batch_save", "batch_update"})


def _names(helper: type) -> frozenset[str]:
    annotated = (name for base in helper.__mro__ for name in getattr(base, "__annotations__", ()))
    return frozenset(name for name in (*dir(helper), *annotated) if not name.startswith("_"))


_KNOWN = _names(NangoSync)
_OF_SYNCS = (_KNOWN - _names(NangoAction)) | _MODEL_ARGUMENT.keys()
_METHODS = {name: getattr(NangoSync, name) for name in dir(NangoSync) if name in _KNOWN}
_AWAITED = frozenset(name for name, it in _METHODS.items() if inspect.iscoroutinefunction(it))
_ITERATED = frozenset(
    name
    for name, it in _METHODS.items()
    if inspect.isfunction(it) and re.match(r"Pages|Async", str(it.__annotations__.get("return")))
)
_HANDING_ON = (
    *(ast.Await, ast.Lambda, ast.Return, ast.Yield),
    *(ast.Dict, ast.List, ast.Set, ast.Tuple, ast.keyword),
    *(ast.DictComp, ast.GeneratorExp, ast.ListComp, ast.SetComp),
)


def check_helper_calls(unit: Unit, scripts: Collection[DeclaredScript]) -> Iterator[Finding]:
    """Yield what is wrong with what a unit wants of the helper.

    Args:
        unit: The code.
        scripts: The scripts that lead to it.
    """
    syncs = [script for script in scripts if script.kind is ScriptKind.SYNC]
    models = {model for sync in syncs for model in sync.models}
    # Whoever mentions a class need not call this method.
    severity: Severity = "warning" if "." in unit.name else "error"
    for attribute in unit.helper_attributes:
        name = attribute.attr
        if name in _OF_SYNCS and len(syncs) < len(scripts):
            message = f"There is no `nango.{name}` here: only syncs have records."
            yield unit.file.finding(
                LintCode.RECORDS_OUTSIDE_SYNC,
                message,
                attribute,
                # Code that a sync leads to as well may look at what it was given.
                severity="warning" if syncs else severity,
            )
        elif name not in _KNOWN and not name.startswith("__"):
            message = f"There is no `nango.{name}`."
            hint = _did_you_mean(name)
            yield unit.file.finding(LintCode.UNKNOWN_METHOD, message, attribute, hint=hint)
        named = named_model(attribute, unit)
        if syncs and named is not None and named[0] not in models:
            model, node = named
            whose = f"the sync `{syncs[0].name}`" if len(syncs) == 1 else "the syncs that use this"
            message = f"`{model}` is not an output of {whose}."
            hint = _right_model(model, models)
            code = LintCode.UNKNOWN_MODEL
            yield unit.file.finding(code, message, node, hint=hint, severity=severity)
    yield from _check_page_calls(unit, syncs, models, in_syncs_only=len(syncs) == len(scripts))


def _check_page_calls(
    unit: Unit, syncs: Sequence[DeclaredScript], models: Collection[str], *, in_syncs_only: bool
) -> Iterator[Finding]:
    for call in page_calls(unit):
        yield from call.check_functions(unit)
        if not in_syncs_only:
            message = f"There is no `{call.verb}` of pages here: only syncs have records."
            severity: Severity = "warning" if syncs or "." in unit.name else "error"
            code = LintCode.RECORDS_OUTSIDE_SYNC
            yield unit.file.finding(code, message, call.node, severity=severity)
        elif call.model is not None and call.model[0] not in models:
            model, node = call.model
            whose = f"the sync `{syncs[0].name}`" if len(syncs) == 1 else "the syncs that use this"
            message = f"`{model}` is not an output of {whose}."
            hint = _right_model(model, models)
            yield unit.file.finding(LintCode.UNKNOWN_MODEL, message, node, hint=hint)


def named_model(attribute: ast.Attribute, unit: Unit) -> tuple[str, ast.expr] | None:
    """Return the model that `nango.<method>(...)` names and where, None if it is no literal."""
    call = unit.parents[attribute]
    index = _MODEL_ARGUMENT.get(attribute.attr)
    if index is None or not isinstance(call, ast.Call) or call.func is not attribute:
        return None
    given = next((keyword.value for keyword in call.keywords if keyword.arg == "model"), None)
    if given is None and len(call.args) > index:
        given = call.args[index]
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        return given.value, given
    return None


def _right_model(name: str, models: Collection[str]) -> str:
    near = difflib.get_close_matches(name, models, n=1, cutoff=0.7)
    known = ", ".join(f"`{model}`" for model in sorted(models))
    return f"did you mean `{near[0]}`?" if near else f"known are {known}"


def _did_you_mean(name: str) -> str | None:
    near = difflib.get_close_matches(python_name(name), _KNOWN, n=1, cutoff=0.7)
    return f"did you mean `nango.{near[0]}`?" if near else None


def check_order(unit: Unit) -> Iterator[Finding]:
    """Yield the merging strategies that a unit chooses after it has requested or written."""
    calls = [(call.attr, named_model(call, unit), call) for call in unit.helper_attributes]
    for name, named, call in calls:
        if name != "set_merging_strategy":
            continue
        earlier = next(
            (
                other
                for other, about, place in calls
                if (place.lineno, place.col_offset) < (call.lineno, call.col_offset)
                and (
                    other in _REQUESTS
                    or (other in _BATCHES and about and named and about[0] == named[0])
                )
            ),
            None,
        )
        if earlier:
            message = f"`nango.set_merging_strategy` comes too late, after `nango.{earlier}`."
            hint = "choose the strategy before the first request and the first batch"
            code = LintCode.MERGING_STRATEGY
            # Lines say in which order calls are written, not in which they are made.
            yield unit.file.finding(code, message, call, hint=hint, severity="warning")


def check_awaits(unit: Unit) -> Iterator[Finding]:
    """Yield the helper calls that are never awaited, and pages that are not iterated over."""
    for attribute in unit.helper_attributes:
        call = unit.parents[attribute]
        if not isinstance(call, ast.Call) or call.func is not attribute:
            continue
        name = attribute.attr
        if name in _ITERATED:
            yield from _check_pages(unit, call, name)
        elif name in _AWAITED and not _is_handed_on(call, unit):
            message = f"`nango.{name}` is not awaited, so it never happens."
            hint = f"write `await nango.{name}(...)`"
            yield unit.file.finding(LintCode.MISSING_AWAIT, message, call, hint=hint)

    for page_call in page_calls(unit):
        if not page_call.is_direct and not _is_handed_on(page_call.node, unit):
            message = f"`{page_call.verb}` of the pages is not awaited, so it never happens."
            hint = f"write `await {ast.unparse(page_call.node.func)}(...)`"
            yield unit.file.finding(LintCode.MISSING_AWAIT, message, page_call.node, hint=hint)


def _check_pages(unit: Unit, call: ast.Call, name: str) -> Iterator[Finding]:
    parent = unit.parents[call]
    if isinstance(parent, ast.Attribute):
        chained = unit.parents[parent]
        if isinstance(chained, ast.Call) and not _is_handed_on(chained, unit):
            message = f"`nango.{name}(...).{parent.attr}` is not awaited, so it never happens."
            hint = f"write `await nango.{name}(...).{parent.attr}(...)`"
            yield unit.file.finding(LintCode.MISSING_AWAIT, message, chained, hint=hint)
        return
    is_plain_loop = isinstance(parent, ast.For) or (
        isinstance(parent, ast.comprehension) and not parent.is_async
    )
    if is_plain_loop or isinstance(parent, ast.Await | ast.Expr):
        message = f"`nango.{name}` gives pages to iterate over."
        hint = f"write `async for page in nango.{name}(...):`"
        yield unit.file.finding(LintCode.PAGES_NOT_ITERATED, message, call, hint=hint)


def _is_handed_on(node: ast.expr, unit: Unit, *, follow: bool = True) -> bool:
    """Say whether a coroutine is awaited, or given to something that may await it.

    Args:
        node: The coroutine.
        unit: Where it stands.
        follow: Whether a variable that it is assigned to must be handed on in its turn.
    """
    child: ast.AST = node
    parent = unit.parents[node]
    while isinstance(parent, ast.IfExp | ast.NamedExpr | ast.Starred):
        if isinstance(parent, ast.NamedExpr) and follow and _is_used(parent.target.id, unit):
            return True
        child, parent = parent, unit.parents[parent]
    if isinstance(parent, ast.Call):
        return parent.func is not child
    if isinstance(parent, ast.Assign | ast.AnnAssign):
        target = parent.target if isinstance(parent, ast.AnnAssign) else parent.targets[0]
        return not follow or not isinstance(target, ast.Name) or _is_used(target.id, unit)
    return isinstance(parent, _HANDING_ON)


def _is_used(name: str, unit: Unit) -> bool:
    return any(
        isinstance(node, ast.Name)
        and node.id == name
        and isinstance(node.ctx, ast.Load)
        and _is_handed_on(node, unit, follow=False)
        for node in unit.parents
    )
