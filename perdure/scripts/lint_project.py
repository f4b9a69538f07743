"""The files of a project, and which code leads to which.

`Project.reachable` follows what units mention. It does not follow a function that is handed to
`nango.run`, since that runs as a step, where everything is allowed.

This is an approximation that errs on the side of following: a name that is merely mentioned may be
called, and whoever mentions a class may call all its methods.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from perdure.scripts.bundle import MODELS_FILE
from perdure.scripts.lint_findings import Finding, LintCode
from perdure.scripts.lint_source import SourceFile, Unit

__all__ = ["Project"]

_LONGEST_CHAIN = 20


class Project:
    """The files of a project, and which code leads to which.

    Args:
        files: Content by path; the generated models are left out.

    Attributes:
        files: Those that parse, by path.
        syntax_errors: What is wrong with the others.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files: dict[str, SourceFile] = {}
        self.syntax_errors: list[Finding] = []
        for path, source in files.items():
            if path.endswith(".py") and path != MODELS_FILE:
                self._parse(path, source)
        self._index = _index(self.files)
        python = [path for path in files if path.endswith(".py")]
        self._modules = _index(python)
        self._packages = {
            ".".join(parts[:length])
            for parts in (name.split(".") for name in self._modules)
            for length in range(1, len(parts) + 1)
        }
        self._generated = files.get(MODELS_FILE)

    def reachable(self, path: str, functions: Iterable[str]) -> tuple[Unit, ...]:
        """Return the units that run when functions of a file are called, but not as steps."""
        file = self.files[path]
        roots = ["", *functions]
        waiting = [file.units[name] for name in roots if name in file.units]
        waiting += [unit for name in roots for unit in self.resolve(file, f".{name}")]
        seen: dict[Unit, None] = {}
        while waiting:
            unit = waiting.pop()
            if unit in seen:
                continue
            seen[unit] = None
            waiting += self._imported(unit)
            for dotted, _ in unit.references:
                waiting += self.resolve(unit.file, dotted)
        return tuple(seen)

    def imported(self, paths: Iterable[str]) -> list[SourceFile]:
        """Return files with all that they import, be it in a step."""
        waiting = [self.files[path] for path in paths if path in self.files]
        seen: dict[str, SourceFile] = {}
        while waiting:
            file = waiting.pop()
            if file.path not in seen:
                seen[file.path] = file
                waiting += [
                    module.file for unit in file.units.values() for module in self._imported(unit)
                ]
        return [*seen.values()]

    def module(self, dotted: str) -> SourceFile | None:
        """Return the file of a module, the generated models too; None where none parses."""
        path = self._modules.get(dotted)
        return self._models if path == MODELS_FILE else self.files.get(path or "")

    def is_package(self, dotted: str) -> bool:
        """Say whether there is a file or a folder of that name, whatever is in it."""
        return dotted in self._packages

    @cached_property
    def _models(self) -> SourceFile | None:
        if self._generated is None:
            return None
        return SourceFile(MODELS_FILE, self._generated, ast.parse(self._generated))

    def resolve(self, file: SourceFile, dotted: str, depth: int = 0) -> list[Unit]:
        """Return the units that a reference leads to, none when it leads out of the project."""
        parts = dotted.split(".")
        if not parts[0]:
            return self._within(file, parts[1:], depth)
        for length in range(len(parts), 0, -1):
            path = self._index.get(".".join(parts[:length]))
            if path is not None:
                return self._within(self.files[path], parts[length:], depth)
        return []

    def _within(self, file: SourceFile, parts: list[str], depth: int) -> list[Unit]:
        if not parts or not parts[0] or depth > _LONGEST_CHAIN:
            return []
        name = parts[0]
        if name in file.units:
            return [file.units[name]]
        if name in file.classes:
            prefix = f"{name}."
            return [unit for known, unit in file.units.items() if known.startswith(prefix)]
        sources = [file.imports[name]] if name in file.imports else file.star_imports
        rest = parts[1:] if name in file.imports else parts
        return [
            unit
            for source in sources
            for unit in self.resolve(file, ".".join([source, *rest]), depth + 1)
        ]

    def _imported(self, unit: Unit) -> Iterator[Unit]:
        """Yield the modules that a unit's import statements run."""
        for dotted in unit.imported_paths:
            parts = dotted.split(".")
            for length in range(1, len(parts) + 1):
                path = self._index.get(".".join(parts[:length]))
                if path is not None:
                    yield self.files[path].units[""]

    def _parse(self, path: str, source: str) -> None:
        try:
            # Some mistakes are found by the compiler only.
            compile(source, path, "exec", dont_inherit=True)
            tree = ast.parse(source, path)
        except SyntaxError as error:
            line, column = error.lineno or 1, error.offset or 1
            end_line, end_column = error.end_lineno or line, error.end_offset or 0
            self.syntax_errors.append(
                Finding(
                    LintCode.SYNTAX,
                    f"This is not valid Python: {error.msg}.",
                    path,
                    line,
                    column,
                    end_line,
                    end_column if (end_line, end_column) > (line, column) else column + 1,
                )
            )
        except (ValueError, RecursionError, MemoryError) as error:
            reason = str(error) or "it is nested too deeply"
            message = f"This cannot be compiled: {reason}."
            self.syntax_errors.append(Finding(LintCode.SYNTAX, message, path))
        else:
            self.files[path] = SourceFile(path, source, tree)


def _index(files: Iterable[str]) -> dict[str, str]:
    """Map dotted names to files; dashes answer to underscores, too."""
    index: dict[str, str] = {}
    for path in files:
        name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        index[name] = index[name.replace("-", "_")] = path
    return index
