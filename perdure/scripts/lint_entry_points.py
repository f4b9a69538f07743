"""Checks that a script defines what the engine calls, in a form that can be called.

What a decorator, an assignment or an installed package makes of a function cannot be seen here;
it passes, and is judged when the script is loaded.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from perdure.scripts.lint_findings import DeclaredScript, EntryPoint, Finding, LintCode
from perdure.scripts.lint_project import Project
from perdure.scripts.lint_source import FunctionNode, SourceFile, Unit

__all__ = ["check_entry_points"]


def check_entry_points(project: Project, script: DeclaredScript) -> Iterator[Finding]:
    """Yield what is wrong with the functions that a script must define."""
    file = project.files[script.path]
    for entry_point in script.entry_points:
        found = project.resolve(file, f".{entry_point.name}")
        if len(found) == 1 and entry_point.name not in file.classes:
            yield from _check(found[0], entry_point)
        elif not _is_defined(file, entry_point.name):
            yield _missing(file, entry_point)


def _is_defined(file: SourceFile, name: str) -> bool:
    is_bound = name in file.imports or name in file.bound or name in file.classes
    return is_bound or bool(file.star_imports)


def _missing(file: SourceFile, entry_point: EntryPoint) -> Finding:
    functions = {
        name: unit.node
        for name, unit in file.units.items()
        if isinstance(unit.node, FunctionNode) and "." not in name
    }
    folded = {name.replace("_", "").lower(): name for name in functions}
    wanted = entry_point.name.replace("_", "")
    near = difflib.get_close_matches(wanted, folded, n=1, cutoff=0.7)
    message = f"The script does not define `{entry_point}`."
    if near:
        name = folded[near[0]]
        hint = f"rename `{name}` to `{entry_point.name}`"
        return file.finding(entry_point.code, message, functions[name], hint=hint)
    hint = f"that is where its run begins: add `{entry_point}: ...`"
    if entry_point.code is LintCode.NO_WEBHOOK_HANDLER:
        hint = "add it, or remove `webhook-subscriptions` from the sync"
    return file.finding(entry_point.code, message, hint=hint)


def _check(unit: Unit, entry_point: EntryPoint) -> Iterator[Finding]:
    node = unit.node
    if not isinstance(node, FunctionNode) or node.decorator_list:
        return
    invalid = LintCode.ENTRY_POINT
    name = f"`{entry_point.name}`"
    if isinstance(node, ast.FunctionDef):
        message = f"{name} must be an `async def` function."
        yield unit.file.finding(invalid, message, node, hint=f"write `{entry_point}`")
        return
    if any(isinstance(part, ast.Yield | ast.YieldFrom) for part in _own_nodes(node)):
        message = f"{name} must not yield: it would be a generator."
        hint = "save records with `await nango.batch_save(...)`"
        yield unit.file.finding(invalid, message, node, hint=hint)
    arguments = node.args
    taken = [*arguments.posonlyargs, *arguments.args]
    needed = len(taken) - len(arguments.defaults)
    given = len(entry_point.parameters)
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    if needed > given or any(default is None for _, default in keywords):
        message = f"{name} asks for more than it is called with."
        yield unit.file.finding(invalid, message, node, hint=f"write `{entry_point}`")
    elif len(taken) < entry_point.fewest and not arguments.vararg:
        yield _takes_too_little(unit, node, entry_point, len(taken))


def _takes_too_little(
    unit: Unit, node: FunctionNode, entry_point: EntryPoint, taken: int
) -> Finding:
    hint = f"write `{entry_point}`"
    if entry_point.name == "run_action" and taken == 1:
        message = "The action declares an input, which `run_action` does not take."
        return unit.file.finding(LintCode.INPUT_IGNORED, message, node, hint=hint)
    message = f"`{entry_point.name}` is called with more than it takes."
    return unit.file.finding(LintCode.ENTRY_POINT, message, node, hint=hint)


def _own_nodes(function: FunctionNode) -> Iterator[ast.AST]:
    """Yield what stands in a function, but not in those that it defines."""
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, FunctionNode | ast.Lambda | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)
