"""Loads scripts of a bundle by path, never through `sys.path`.

Every module of a bundle gets a synthetic name that starts with the bundle's hash, so that two
versions live side by side. Imports inside a script look into the bundle first (`from models
import X`, `from shared.mapping import to_issue`, relative ones too) and then go on to
`outside`, which decides what the rest of the world looks like to the script.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from perdure.ids import BundleHash
from perdure.scripts.bundle import MODELS_FILE, Bundle
from perdure.scripts.fixed_models import fix_models

__all__ = [
    "Import",
    "ScriptModules",
    "bundle_file",
    "is_script_file",
    "loaded_models",
    "needed_files",
    "shared_models",
    "show_sources",
]

Import = Callable[..., ModuleType]
"""A function with the signature of `builtins.__import__`."""

_FILE_PREFIX = "perdure-bundle:"
_models_lock = threading.Lock()
_loaded_models: dict[tuple[BundleHash, str], ModuleType] = {}
_MODELS = MODELS_FILE.removesuffix(".py")


class _Source(NamedTuple):
    path: str | None  # None for a folder without __init__.py
    is_package: bool


def is_script_file(filename: str) -> bool:
    """Say whether a code object's file name belongs to a bundle."""
    return filename.startswith(_FILE_PREFIX)


def bundle_file(filename: str) -> str:
    """Return the path inside the project of a code object's file name."""
    return filename.removeprefix(_FILE_PREFIX).partition("/")[2]


@lru_cache(maxsize=1024)
def _compile(bundle_hash: str, path: str, source: str) -> CodeType:
    filename = f"{_FILE_PREFIX}{bundle_hash[:16]}/{path}"
    return compile(source, filename, "exec", dont_inherit=True)


class ScriptModules:
    """The modules of one bundle for one user: a run, or the activities of a process.

    Args:
        bundle: The bundle.
        outside: Imports what is not part of the bundle.
        models: The bundle's `models` module if it was loaded before, to share it.
    """

    def __init__(
        self, bundle: Bundle, *, outside: Import, models: ModuleType | None = None
    ) -> None:
        self._bundle = bundle
        self._outside = outside
        self._root = f"perdure_bundle_{bundle.hash[:16]}"
        self._sources = _index(bundle.files)
        self._modules: dict[str, ModuleType] = {}
        # A module is found by others as soon as it begins to execute, which circular imports
        # need; other threads wait until it is complete.
        self._lock = threading.RLock()
        self._builtins = {**vars(builtins), "__import__": self._import}
        if models is not None:
            self._modules[_MODELS] = models
            sys.modules[models.__name__] = models

    def load(self, path: str) -> ModuleType:
        """Execute the file at `path` once and return its module.

        Raises:
            Exception: Whatever the file raises when it is executed.
        """
        name = path.removesuffix(".py").replace("/", ".")
        with self._lock:
            return self._load(name, _Source(path, is_package=False))

    def function(self, path: str, name: str) -> Callable[..., Any]:
        """Return a function of a file.

        Args:
            path: The file.
            name: Qualified name of the function there.

        Raises:
            AttributeError: The file has no such function.
            Exception: Whatever the file raises when it is executed.
        """
        value: Any = self.load(path)
        for part in name.split("."):
            value = getattr(value, part)
        function: Callable[..., Any] = value  # workflows send names of functions only
        return function

    def _load(self, name: str, source: _Source) -> ModuleType:
        if name in self._modules:
            return self._modules[name]
        module = ModuleType(f"{self._root}.{name}")
        module.__package__ = module.__name__
        if not source.is_package:
            module.__package__ = module.__name__.rpartition(".")[0]
        else:
            module.__path__ = []
        module.__dict__["__builtins__"] = self._builtins
        # pydantic and dataclasses look annotations up through sys.modules; inside the sandbox
        # that is the run's own.
        self._modules[name] = sys.modules[module.__name__] = module
        if source.path is not None:
            code = _compile(self._bundle.hash, source.path, self._bundle.files[source.path])
            module.__file__ = code.co_filename
            try:
                exec(code, module.__dict__)  # noqa: S102 - executing deployed scripts is the job
            except BaseException:
                del self._modules[name], sys.modules[module.__name__]
                raise
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - signature of __import__
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - signature of __import__
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        absolute = self._absolute(name, globals, level) if level else name
        if level == 0 and not self._has(absolute, fromlist or ()):
            return self._outside(name, globals, locals, fromlist, level)
        with self._lock:
            return self._import_own(absolute, fromlist or ())

    def _import_own(self, absolute: str, fromlist: Sequence[str]) -> ModuleType:
        module = self._load_dotted(absolute)
        if fromlist:
            for attribute in fromlist:
                child = f"{absolute}.{attribute}" if absolute else attribute
                if not hasattr(module, attribute) and child in self._sources:
                    self._load_dotted(child)
            return module
        return self._modules[absolute.partition(".")[0]]

    def _absolute(self, name: str, globals_: Mapping[str, Any] | None, level: int) -> str:
        package = str((globals_ or {}).get("__package__", "")).removeprefix(self._root).strip(".")
        parts = package.split(".") if package else []
        if level - 1 > len(parts):
            msg = "attempted relative import beyond the project folder"
            raise ImportError(msg)
        base = parts[: len(parts) - (level - 1)]
        return ".".join([*base, name] if name else base)

    def _has(self, name: str, fromlist: Sequence[str]) -> bool:
        """Whether a name is the bundle's: an installed package wins over a mere folder."""
        source = self._sources.get(name)
        if source is None:
            return False
        if source.path is not None:
            return True
        return any(f"{name}.{attribute}" in self._sources for attribute in fromlist)

    def _load_dotted(self, name: str) -> ModuleType:
        module: ModuleType | None = None
        walked = ""
        for part in name.split(".") if name else []:
            parent, walked = module, f"{walked}.{part}".lstrip(".")
            source = self._sources.get(walked)
            if source is None:
                msg = f"No module named {walked!r} in the project"
                raise ModuleNotFoundError(msg, name=walked)
            module = self._load(walked, source)
            if parent is not None:
                setattr(parent, part, module)
        if module is None:
            module = self._load("__project__", _Source(None, is_package=True))
        return module


def _index(files: Mapping[str, str]) -> dict[str, _Source]:
    """Map dotted names to sources; folders with dashes answer to underscores too."""
    index: dict[str, _Source] = {}
    for path in files:
        if not path.endswith(".py"):
            continue
        parts = path.removesuffix(".py").split("/")
        for depth in range(1, len(parts)):
            for folder in _spellings(parts[:depth]):
                index.setdefault(folder, _Source(None, is_package=True))
        is_package = parts[-1] == "__init__"
        for name in _spellings(parts[:-1] if is_package else parts):
            index[name] = _Source(path, is_package)
    index.pop("", None)
    return index


def _spellings(parts: Sequence[str]) -> set[str]:
    name = ".".join(parts)
    return {name, name.replace("-", "_")}


def needed_files(files: Mapping[str, str], path: str) -> dict[str, str]:
    """Return the files that a script can reach by its imports, itself included.

    Raises:
        SyntaxError: One of the files does not parse.
    """
    index = _index(files)
    needed: dict[str, str] = {}
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in needed:
            continue
        needed[current] = files[current]
        package = current.removesuffix(".py").split("/")[:-1]
        for name in _imported_names(files[current], current, package):
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                source = index.get(".".join(parts[:depth]))
                if source is not None and source.path is not None:
                    waiting.append(source.path)
    return needed


def _imported_names(source: str, path: str, package: Sequence[str]) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(source, path)):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - (node.level - 1)]) if node.level else []
            base += node.module.split(".") if node.module else []
            names.extend(".".join([*base, alias.name]) for alias in node.names)
    return names


@lru_cache(maxsize=64)
def _load_models(bundle_hash: str, source: str) -> ModuleType:
    name = f"perdure_bundle_{bundle_hash[:16]}.{_MODELS}"
    module = ModuleType(name)
    sys.modules[name] = module
    exec(_compile(bundle_hash, MODELS_FILE, source), module.__dict__)  # noqa: S102 - generated by us
    fix_models(module)
    return module


def show_sources(bundle: Bundle) -> None:
    """Let tracebacks and debuggers show the source lines of a bundle's files."""
    for path, source in bundle.files.items():
        if path.endswith(".py"):
            name = f"{_FILE_PREFIX}{bundle.hash[:16]}/{path}"
            entry = (len(source), None, source.splitlines(keepends=True), name)
            # Debuggers take the name for a path below the current folder.
            linecache.cache[name] = linecache.cache[os.path.abspath(name)] = entry  # noqa: PTH100


def shared_models(bundle: Bundle) -> ModuleType | None:
    """Return the bundle's generated `models` module, executed once per process.

    It is pure, so runs can share its classes and what pydantic builds for them. Call it outside
    a workflow's sandbox. None where the script needs no models.
    """
    if MODELS_FILE not in bundle.files:
        return None
    with _models_lock:
        source = bundle.files[MODELS_FILE]
        module = _load_models(bundle.hash, source)
        _loaded_models[bundle.hash, source] = module
        return module


def loaded_models(bundle: Bundle) -> ModuleType | None:
    """Return what `shared_models` returned before, None where nothing has asked it yet."""
    return _loaded_models.get((bundle.hash, bundle.files.get(MODELS_FILE, "")))
