"""Checks that the modules of a project have what its scripts want of them.

Only what is certain of a module counts: one that makes its names while it runs may have any, and
so may a folder, which an installed package of the same name would take the place of.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Collection, Iterator
from typing import NamedTuple

from perdure.scripts.lint_findings import Finding, LintCode
from perdure.scripts.lint_project import Project
from perdure.scripts.lint_source import SourceFile, Unit, imported_paths

__all__ = ["check_names"]

_MAKES_NAMES = frozenset({"exec", "globals", "locals", "setattr", "vars"})
_MAY_FAIL = (ast.Try, ast.TryStar, ast.With)
_LONGEST_CHAIN = 20


def check_names(project: Project, paths: Collection[str]) -> Iterator[Finding]:
    """Yield where scripts and what they import want names that a module does not have.

    Args:
        project: The project.
        paths: Files of the scripts.
    """
    modules = _Modules(project)
    files = project.imported(paths)
    assigned = {attribute for file in files for attribute in _assigned_attributes(file)}
    for file in files:
        for unit in file.units.values():
            yield from _check_imports(modules, unit)
            yield from _check_attributes(modules, unit, assigned)


def _check_imports(modules: _Modules, unit: Unit) -> Iterator[Finding]:
    for node in unit.parents:
        if not isinstance(node, ast.ImportFrom) or _is_guarded(node, unit):
            continue
        # What a function imports may never be called for, nor what stands under an `if`.
        always_runs = unit.parents[node] is unit.file.tree
        code = LintCode.IMPORT if always_runs else LintCode.UNKNOWN_NAME
        for alias, dotted in zip(node.names, imported_paths(node, unit.file.path), strict=True):
            lack = modules.lack(dotted.rpartition(".")[0], alias.name)
            if lack is not None:
                yield unit.file.finding(code, lack.message, node, hint=lack.hint)


def _check_attributes(
    modules: _Modules, unit: Unit, assigned: Collection[str]
) -> Iterator[Finding]:
    for node in unit.parents:
        if not isinstance(node, ast.Attribute) or node.attr in assigned:
            continue
        module = _module(node.value, unit)
        lack = modules.lack(module, node.attr) if module else None
        if lack is not None and not _is_guarded(node, unit):
            yield unit.file.finding(LintCode.UNKNOWN_NAME, lack.message, node, hint=lack.hint)


def _module(node: ast.expr, unit: Unit) -> str | None:
    """Return the dotted name of what an expression stands for, if imports alone say so."""
    root = node
    while isinstance(root, ast.Attribute):
        root = root.value
    file = unit.file
    if not isinstance(root, ast.Name) or root.id not in file.imports:
        return None
    if root.id in file.rebound or root.id in file.bound:
        return None
    return unit.dotted(node)


def _is_guarded(node: ast.AST, unit: Unit) -> bool:
    """Say whether somebody is prepared for a failure."""
    while node in unit.parents:
        node = unit.parents[node]
        if isinstance(node, _MAY_FAIL):
            return True
    return False


def _assigned_attributes(file: SourceFile) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            yield node.attr


class _Lack(NamedTuple):
    message: str
    hint: str | None


class _Modules:
    """What the modules of a project have."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._names: dict[str, frozenset[str] | None] = {}

    def lack(self, module: str, name: str) -> _Lack | None:
        """Return what is to be said if a module has no such name; None where there is no telling.

        Args:
            module: Its dotted name.
            name: A name in it, or that of a module below it.
        """
        names = self._names_in(module)
        file = self._project.module(module)
        is_special = name == "*" or (name.startswith("__") and name.endswith("__"))
        if file is None or names is None or is_special or name in names:
            return None
        if self._project.is_package(f"{module}.{name}"):
            return None
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
        hint = f"did you mean `{near[0]}`?" if near else None
        return _Lack(f"There is no `{name}` in {file.path}.", hint)

    def _names_in(self, module: str, depth: int = 0) -> frozenset[str] | None:
        if module not in self._names:
            file = self._project.module(module)
            self._names[module] = self._of(file, depth) if file else None
        return self._names[module]

    def _of(self, file: SourceFile, depth: int) -> frozenset[str] | None:
        names = {name for name in (*file.units, *file.classes) if "." not in name}
        names |= file.bound | file.imports.keys()
        for node in ast.walk(file.tree):
            match node:
                case ast.Name(id=name) if name in _MAKES_NAMES:
                    return None
                case ast.Global(names=found):
                    names.update(found)
                case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                    names.add(name)
                case ast.ExceptHandler(name=str(name)):
                    names.add(name)
        if "__getattr__" in names or depth > _LONGEST_CHAIN:
            return None
        for source in file.star_imports:
            more = self._names_in(source, depth + 1)
            if more is None:
                return None
            names |= more
        return frozenset(names)
