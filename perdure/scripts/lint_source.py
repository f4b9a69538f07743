"""A Python file taken apart into units: what runs together, or not at all.

A unit is a function with everything inside it, or what a module does when it is imported. It knows
which of its names stand for the `nango` helper, and what it mentions of the world around it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from perdure.scripts.lint_findings import Finding, LintCode, Severity

__all__ = ["PAGE_FUNCTIONS", "FunctionNode", "SourceFile", "Unit", "imported_paths", "is_helper"]

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

_ENTRY_POINTS = frozenset({"fetch_data", "on_event", "on_webhook_payload_received", "run_action"})
_HELPER_TYPES = ("NangoAction", "NangoSync")
_HELPER_NAMES = frozenset({"nango", "_nango"})
PAGE_FUNCTIONS = frozenset({"map", "on_page", "where"})
"""What `save` and `delete` of pages call outside the workflow."""

_PAGE_VERBS = frozenset({"delete", "save"})
_ANNOTATIONS = frozenset({"annotation", "returns", "type_comment", "type_params"})
_BINDING = (
    *(ast.AsyncFunctionDef, ast.ClassDef, ast.FunctionDef),
    *(ast.ExceptHandler, ast.MatchAs, ast.MatchStar),
)


class SourceFile:
    """One file of the project.

    Attributes:
        path: Its path below the project folder.
        tree: What it holds.
        imports: What the names that it imports stand for, as dotted paths from the outside.
        rebound: Those of the names that stand for different things in different places.
        units: Its functions by qualified name; the file's own statements are at `""`.
        classes: Names of its classes.
        star_imports: Modules of which it imports whatever they have.
    """

    def __init__(self, path: str, source: str, tree: ast.Module) -> None:
        self.path = path
        self.tree = tree
        self._lines = source.splitlines()
        self.imports: dict[str, str] = {}
        self.rebound: set[str] = set()
        self.units: dict[str, Unit] = {"": Unit(self, "", tree)}
        self.classes: set[str] = set()
        for name, node in _definitions(tree):
            if isinstance(node, ast.ClassDef):
                self.classes.add(name)
            else:
                self.units[name] = Unit(self, name, node)
        statements = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        for statement in statements:
            for name, dotted in _bindings(statement, path).items():
                if self.imports.setdefault(name, dotted) != dotted:
                    self.rebound.add(name)
                self.imports[name] = dotted
        self.star_imports = [
            dotted.removesuffix(".*")
            for statement in statements
            for dotted in imported_paths(statement, path)
            if dotted.endswith(".*")
        ]

    @cached_property
    def bound(self) -> frozenset[str]:
        """Names that the file's own statements assign."""
        return self.units[""].bound

    def finding(
        self,
        code: LintCode,
        message: str,
        node: ast.expr | ast.stmt | None = None,
        *,
        hint: str | None = None,
        severity: Severity = "error",
    ) -> Finding:
        """Return a finding at `node`, or at the beginning of the file."""
        if node is None:
            return Finding(code, message, self.path, hint=hint, severity=severity)
        end_line = node.end_lineno or node.lineno
        return Finding(
            code,
            message,
            self.path,
            node.lineno,
            self._column(node.lineno, node.col_offset),
            end_line,
            self._column(end_line, node.end_col_offset or node.col_offset + 1),
            hint,
            severity,
        )

    def _column(self, line: int, offset: int) -> int:
        """Return the column at an offset, which counts bytes."""
        text = self._lines[line - 1] if line <= len(self._lines) else ""
        return len(text.encode()[:offset].decode(errors="ignore")) + 1


@dataclass(frozen=True, eq=False)
class Unit:
    """A function with everything inside it, or the statements of a module.

    Attributes:
        file: Where it stands.
        name: Its qualified name, empty for a module.
        node: Its syntax tree.
    """

    file: SourceFile
    name: str
    node: ast.Module | FunctionNode

    @cached_property
    def parents(self) -> Mapping[ast.AST, ast.AST]:
        """What each node of the unit is a part of; annotations are left out."""
        parents: dict[ast.AST, ast.AST] = {}
        waiting: list[ast.AST] = [self.node]
        while waiting:
            node = waiting.pop()
            for child in self._children(node):
                parents[child] = node
                waiting.append(child)
        return parents

    @cached_property
    def bound(self) -> frozenset[str]:
        """Names that are local to it."""
        names: set[str] = set()
        for node in self.parents:
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                names.add(node.id)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, _BINDING) and node.name and self.name:
                names.add(node.name)
        return frozenset(names)

    @cached_property
    def helpers(self) -> frozenset[str]:
        """Names that stand for the `nango` helper in it."""
        names = {
            node.arg
            for node in self.parents
            if isinstance(node, ast.arg) and _is_helper_argument(node)
        }
        if self.name in _ENTRY_POINTS and isinstance(self.node, FunctionNode):
            arguments = self.node.args
            names.update(arg.arg for arg in [*arguments.posonlyargs, *arguments.args][:1])
        stored = {
            node.id
            for node in self.parents
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
        }
        return frozenset(names - stored)

    @cached_property
    def helper_attributes(self) -> tuple[ast.Attribute, ...]:
        """Every `nango.<something>` in it."""
        return tuple(
            node
            for node in self.parents
            if isinstance(node, ast.Attribute) and is_helper(node.value, self)
        )

    @cached_property
    def references(self) -> tuple[tuple[str, ast.expr], ...]:
        """What it mentions of the world around it, as dotted paths from the outside.

        Names of its own file begin with a dot. Functions that it hands to `nango.run`, or that
        make records of pages, are not among them.
        """
        steps = {self._step(attribute) for attribute in self.helper_attributes}
        steps.update(self._page_functions())
        found = []
        for node in self.parents:
            if not isinstance(node, ast.Name | ast.Attribute) or node in steps:
                continue
            if isinstance(self.parents[node], ast.Attribute):
                continue
            if (dotted := self.dotted(node)) is not None:
                found.append((dotted, node))
        return tuple(found)

    @cached_property
    def imported_paths(self) -> tuple[str, ...]:
        """What its import statements name, as dotted paths from the project folder."""
        return tuple(
            dotted
            for node in self.parents
            if isinstance(node, ast.Import | ast.ImportFrom)
            for dotted in imported_paths(node, self.file.path)
        )

    def dotted(self, node: ast.expr) -> str | None:
        """Return what a name or a chain of attributes stands for, None when it is a local value."""
        rest = ""
        while isinstance(node, ast.Attribute):
            rest, node = f".{node.attr}{rest}", node.value
        if not isinstance(node, ast.Name) or (self.name and node.id in self.bound):
            return None
        if node.id in self.file.imports:
            return self.file.imports[node.id] + rest
        file = self.file
        is_own = node.id in file.bound or node.id in file.units or node.id in file.classes
        return f".{node.id}{rest}" if is_own else f"{node.id}{rest}"

    def _step(self, attribute: ast.Attribute) -> ast.expr | None:
        call = self.parents.get(attribute)
        if attribute.attr != "run" or not isinstance(call, ast.Call) or call.func is not attribute:
            return None
        if call.args:
            return call.args[0]
        return next((keyword.value for keyword in call.keywords if keyword.arg == "fn"), None)

    def _page_functions(self) -> Iterator[ast.expr]:
        """Yield what is given as `map`, `where` or `on_page` to pages of the helper."""
        if not any(attribute.attr == "paginate" for attribute in self.helper_attributes):
            return
        for node in self.parents:
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr not in _PAGE_VERBS:
                    continue
                yield from (k.value for k in node.keywords if k.arg in PAGE_FUNCTIONS)

    def _children(self, node: ast.AST) -> Iterator[ast.AST]:
        skipped = _ANNOTATIONS
        if not self.name and isinstance(node, FunctionNode):
            # Of a function the module runs decorators and defaults only.
            skipped = _ANNOTATIONS | {"body"}
        elif isinstance(node, ast.If) and _never_runs(node.test):
            skipped = _ANNOTATIONS | {"body"}
        for field, value in ast.iter_fields(node):
            if field in skipped:
                continue
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.AST):
                    yield child


def is_helper(node: ast.expr, unit: Unit) -> bool:
    """Say whether an expression is the `nango` helper: by its name, or as an attribute of it."""
    if isinstance(node, ast.Name):
        return node.id in unit.helpers
    return isinstance(node, ast.Attribute) and node.attr in _HELPER_NAMES


def _bindings(node: ast.Import | ast.ImportFrom, path: str) -> dict[str, str]:
    """Return what the names that an import statement binds stand for."""
    if isinstance(node, ast.ImportFrom):
        pairs = zip(node.names, imported_paths(node, path), strict=True)
        return {alias.asname or alias.name: dotted for alias, dotted in pairs}
    names = {}
    for alias in node.names:
        top = alias.name.partition(".")[0]
        names[alias.asname or top] = alias.name if alias.asname else top
    return names


def imported_paths(node: ast.Import | ast.ImportFrom, path: str) -> list[str]:
    """Return what an import statement names, as dotted paths from the project folder."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    folders = path.split("/")[:-1] if node.level else []
    base = folders[: len(folders) - (node.level - 1)] if node.level else []
    base += node.module.split(".") if node.module else []
    return [".".join([*base, alias.name]) for alias in node.names]


def _definitions(tree: ast.Module) -> Iterator[tuple[str, FunctionNode | ast.ClassDef]]:
    """Yield functions and classes by qualified name, without what stands inside of functions."""
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        prefix, node = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, FunctionNode):
                yield prefix + child.name, child
            elif isinstance(child, ast.ClassDef):
                yield prefix + child.name, child
                waiting.append((f"{prefix}{child.name}.", child))
            elif isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                waiting.append((prefix, child))


def _is_helper_argument(argument: ast.arg) -> bool:
    if argument.arg in _HELPER_NAMES:
        return True
    annotation = argument.annotation
    if isinstance(annotation, ast.Attribute):
        return annotation.attr in _HELPER_TYPES
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value.rpartition(".")[2] in _HELPER_TYPES
    return isinstance(annotation, ast.Name) and annotation.id in _HELPER_TYPES


def _never_runs(test: ast.expr) -> bool:
    """Say whether a block under `if test:` is for type checkers, or for running the file itself."""
    if isinstance(test, ast.Compare):
        return isinstance(test.left, ast.Name) and test.left.id == "__name__"
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"
