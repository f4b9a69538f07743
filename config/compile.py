"""From the files of a project to what a deploy stores: parsed, checked, with generated models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from config.models_py import generate_models_py
from config.nango_yaml import parse_nango_yaml
from config.problems import Problem, format_problem
from config.project import NangoConfig
from perdure.errors import FieldError, InvalidInputError, NotFoundError
from perdure.ids import BundleHash
from perdure.scripts.bundle import (
    CONFIG_FILE,
    MODELS_FILE,
    ScriptKind,
    bundle_hash,
    script_path,
)

__all__ = ["CompiledProject", "compile_project"]


@dataclass(frozen=True, slots=True)
class CompiledProject:
    """A project that can be deployed.

    Attributes:
        hash: Content hash of the bundle.
        files: Every file, `models.py` generated.
        config: The parsed `nango.yaml`.
        warnings: What it warns about.
        source: Text of `nango.yaml`, for `format_problem`.
    """

    hash: BundleHash
    files: Mapping[str, str]
    config: NangoConfig
    warnings: tuple[Problem, ...]
    source: str


def compile_project(files: Mapping[str, str]) -> CompiledProject:
    """Check a project and generate its models.

    Args:
        files: Content by path below the project folder; `nango.yaml` is one of them.

    Raises:
        InvalidInputError: With everything that is wrong at once: `failed_to_parse_nango_yaml`,
            or `compile_failed` where a script is missing or does not parse. The payload holds
            `problems`, each a text with file, line and column.
    """
    if CONFIG_FILE not in files:
        msg = f"The project has no {CONFIG_FILE}."
        raise InvalidInputError(msg, code="failed_to_parse_nango_yaml")
    source = files[CONFIG_FILE]
    parsed = parse_nango_yaml(source, file=CONFIG_FILE)
    if parsed.config is None:
        raise _refused(
            "failed_to_parse_nango_yaml",
            [FieldError(p.code, p.message, p.path) for p in parsed.errors],
            [format_problem(p, source) for p in parsed.errors],
        )
    problems = [*_missing_scripts(parsed.config, files), *_syntax_errors(files)]
    if problems:
        texts = [f"{'/'.join(str(part) for part in p.path)}: {p.message}" for p in problems]
        raise _refused("compile_failed", problems, texts)
    complete = {
        path: text for path, text in files.items() if path.endswith(".py") or path == CONFIG_FILE
    }
    complete[MODELS_FILE] = generate_models_py(parsed.config)
    return CompiledProject(
        hash=bundle_hash(complete, parsed.config.to_json()),
        files=complete,
        config=parsed.config,
        warnings=parsed.warnings,
        source=source,
    )


def _refused(code: str, errors: list[FieldError], texts: list[str]) -> InvalidInputError:
    count = len(errors)
    msg = f"{count} {'problem' if count == 1 else 'problems'}; nothing was deployed.\n"
    return InvalidInputError(
        msg + "\n".join(texts), code=code, errors=errors, payload={"problems": texts}
    )


def _missing_scripts(config: NangoConfig, files: Mapping[str, str]) -> list[FieldError]:
    wanted = [
        (integration.key, kind, script.name)
        for integration in config.integrations
        for kind, scripts in (
            (ScriptKind.SYNC, integration.syncs),
            (ScriptKind.ACTION, integration.actions),
        )
        for script in scripts
    ]
    problems = []
    for integration_key, kind, name in wanted:
        try:
            script_path(files, integration_key, kind, name)
        except NotFoundError as error:
            problems.append(FieldError(error.code, error.message, (CONFIG_FILE,)))
    return problems


def _syntax_errors(files: Mapping[str, str]) -> list[FieldError]:
    problems = []
    for path, source in files.items():
        if not path.endswith(".py"):
            continue
        try:
            compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None) or 1
            text = getattr(error, "msg", None) or str(error)
            problems.append(FieldError("script_syntax_error", text, (f"{path}:{line}",)))
    return problems
