"""The project that `perdure init` writes: small, and everything in it works.

It reads GitHub's public API, so that it runs without an account anywhere. A file that exists is
never touched.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from config.models_py import generate_models_py
from config.nango_schema import SCHEMA_PATH, nango_schema_json
from config.nango_yaml import parse_nango_yaml
from perdure.errors import StartupError
from perdure.scripts.bundle import CONFIG_FILE, MODELS_FILE

__all__ = ["starter_files", "write_project"]

# The files' own names would have a meaning inside this package: for git, for a type checker.
_TEMPLATES = {
    CONFIG_FILE: "nango.yaml.txt",
    ".env": "env.txt",
    ".gitignore": "gitignore.txt",
    "github/syncs/issues.py": "issues.py.txt",
    "github/actions/repository.py": "repository.py.txt",
}


def starter_files() -> dict[str, str]:
    """Return the files of the project by their path in it, without the generated models."""
    folder = files(__name__)
    return {path: (folder / name).read_text("utf-8") for path, name in _TEMPLATES.items()}


def write_project(folder: Path) -> tuple[list[Path], list[Path]]:
    """Write the project into a folder.

    The models are generated only for our own `nango.yaml`: one that was there already has models
    of its own.

    Returns:
        What was written, and what was there already.

    Raises:
        StartupError: The folder cannot be written to.
    """
    contents = {**starter_files(), SCHEMA_PATH: nango_schema_json()}
    written: list[Path] = []
    kept: list[Path] = []
    if not (folder / CONFIG_FILE).exists():
        contents[MODELS_FILE] = _models(contents[CONFIG_FILE])
    try:
        for path, content in contents.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("x", encoding="utf-8", newline="\n") as file:
                    file.write(content)
            except FileExistsError:
                kept.append(target)
            else:
                written.append(target)
    except OSError as error:
        msg = f"{folder} cannot be written to: {error.strerror}"
        raise StartupError(msg, code="folder_not_writable") from error
    return written, kept


def _models(source: str) -> str:
    config = parse_nango_yaml(source).config
    if config is None:
        msg = "the starter's nango.yaml is broken"
        raise StartupError(msg)
    return generate_models_py(config)
