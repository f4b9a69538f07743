"""From the files of a project to what a deploy stores: parsed, checked, with generated models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from config.models_py import generate_models_py
from config.nango_yaml import parse_nango_yaml
from config.problems import Problem, format_problem
from config.project import NangoConfig, ParseResult
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

_Refusal: TypeAlias = tuple[FieldError, str]
"""What is wrong, for programs and as text with its place."""


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
            [
                (FieldError(p.code, p.message, p.path), format_problem(p, source))
                for p in parsed.errors
            ],
        )
    problems = [*_missing_scripts(parsed, files), *_syntax_errors(files)]
    if problems:
        raise _refused("compile_failed", problems)
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


def _refused(code: str, problems: Sequence[_Refusal]) -> InvalidInputError:
    count = len(problems)
    texts = [text for _, text in problems]
    msg = f"{count} {'problem' if count == 1 else 'problems'}; nothing was deployed.\n"
    return InvalidInputError(
        msg + "\n".join(texts),
        code=code,
        errors=[error for error, _ in problems],
        payload={"problems": texts},
    )


def _missing_scripts(parsed: ParseResult, files: Mapping[str, str]) -> Iterator[_Refusal]:
    """Find the scripts that `nango.yaml` names and nobody wrote."""
    for integration in parsed.config.integrations if parsed.config else ():
        for kind, key, scripts in (
            (ScriptKind.SYNC, "syncs", integration.syncs),
            (ScriptKind.ACTION, "actions", integration.actions),
        ):
            for script in scripts:
                try:
                    script_path(files, integration.key, kind, script.name)
                except NotFoundError as error:
                    path = (integration.key, key, script.name)
                    at = parsed.locate("integrations", *path)
                    where = f"{CONFIG_FILE}:{at.line}:{at.column}" if at else CONFIG_FILE
                    text = f"{where}: error[{error.code}]: {error.message}"
                    yield FieldError(error.code, error.message, path), text


def _syntax_errors(files: Mapping[str, str]) -> Iterator[_Refusal]:
    for path, source in files.items():
        if not path.endswith(".py"):
            continue
        try:
            compile(source, path, "exec", dont_inherit=True)
        except SyntaxError as error:
            where = f"{path}:{error.lineno or 1}:{error.offset or 1}"
            text = f"{where}: error[script_syntax_error]: {error.msg}"
            yield FieldError("script_syntax_error", error.msg, (path,)), text
        except ValueError as error:
            text = f"{path}:1:1: error[script_syntax_error]: {error}"
            yield FieldError("script_syntax_error", str(error), (path,)), text
