"""`perdure config` and `perdure generate`: what a nango.yaml says, without deploying it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from perdure.app.cli.errors import ExitCode
from perdure.app.cli.options import BUILD, AsJson

if TYPE_CHECKING:
    from config.nango_yaml import NangoConfig, ParseResult

__all__ = ["app", "generate", "generate_tests"]

app = App(name="config", group=BUILD, help="Check nango.yaml, and have editors check it.")


@app.command
def check(*files: Path, as_json: AsJson = False) -> int:
    """Say all that is wrong with a nango.yaml, with line and column.

    Args:
        files: Files, or project folders; ./nango.yaml if none is given.
        as_json: Print the parsed form as JSON, one document a line for each file.
    """
    show = _print_json if as_json else _print
    all_fine = True
    for file in files or (Path(),):
        result = _read(file)
        show(file, result)
        all_fine = all_fine and result.ok
    return ExitCode.OK if all_fine else ExitCode.COMPILE


@app.command
def schema() -> None:
    """Print the JSON Schema of nango.yaml, by which editors complete and check it."""
    from config.nango_schema import nango_schema_json

    sys.stdout.write(nango_schema_json())


def generate(*, project: Path = Path()) -> int:
    """Write what follows from nango.yaml: models.py, JSON Schemas, and scripts to fill in.

    models.py, .nango/schema.json (the models) and .nango/nango.schema.json (nango.yaml itself, for
    editors) are written anew; a script that exists is left as it is.

    Args:
        project: Project folder.
    """
    from perdure.app.cli import render

    result = _read(project)
    _print_problems(result)
    if result.config is None:
        return ExitCode.COMPILE
    try:
        for path, is_new in _write(project, result.config):
            render.say(f"Wrote {path}{' to fill in' if is_new else ''}.")
    except OSError as error:
        from perdure.errors import StartupError

        msg = f"{error.filename or project} cannot be written to: {error.strerror}"
        raise StartupError(msg, code="folder_not_writable") from error
    return ExitCode.OK


def generate_tests(
    *,
    integration: Annotated[str | None, Parameter(name=["--integration", "-i"])] = None,
    project: Path = Path(),
) -> int:
    """Write a test for each script that `perdure dryrun --save` has recorded; none is overwritten.

    Args:
        integration: Only of this integration.
        project: Project folder.
    """
    from perdure.app.cli import render
    from perdure.app.cli.fixtures import write_tests

    result = _read(project)
    _print_problems(result)
    if result.config is None:
        return ExitCode.COMPILE
    written = list(write_tests(project, result.config, integration))
    for path in written:
        render.say(f"Wrote {path}.")
    if not written:
        render.say("Nothing to write; `perdure dryrun SCRIPT CONNECTION --save` records for tests.")
    return ExitCode.OK


def _write(project: Path, config: NangoConfig) -> Iterator[tuple[Path, bool]]:
    """Write the generated files, yielding each of them and whether it is for people to go on."""
    from config.json_schema import generate_schema_json
    from config.models_py import generate_models_py
    from config.nango_schema import SCHEMA_PATH, nango_schema_json
    from config.scaffolds import generate_scaffolds
    from perdure.scripts.bundle import MODELS_FILE, project_files

    scaffolds = generate_scaffolds(config, project_files(project))
    generated = {
        MODELS_FILE: generate_models_py(config),
        ".nango/schema.json": generate_schema_json(config),
        SCHEMA_PATH: nango_schema_json(),
    }
    for name, text in {**generated, **scaffolds}.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open(
                "x" if name in scaffolds else "w", encoding="utf-8", newline="\n"
            ) as file:
                file.write(text)
        except FileExistsError:
            continue
        yield path, name in scaffolds


def _read(file: Path) -> ParseResult:
    from config.nango_yaml import ParseResult, load_project, parse_nango_yaml, read_bytes
    from config.problems import FileCode, Problem

    try:
        if file.is_dir():
            return load_project(file)
        content = read_bytes(file)
    except FileNotFoundError:
        problem = Problem(FileCode.NOT_FOUND, f"There is no file {file}.")
    except OSError as error:
        problem = Problem(FileCode.UNREADABLE, f"{file} cannot be read: {error.strerror}.")
    else:
        return parse_nango_yaml(content, file=str(file))
    return ParseResult(None, (problem,), ())


def _print_json(file: Path, result: ParseResult) -> None:
    from config.canonical import canonical_document

    # Names of files need not be Unicode; escaped they can be printed all the same.
    document = {"file": str(file), **canonical_document(result)}
    sys.stdout.write(f"{json.dumps(document)}\n")


def _print(file: Path, result: ParseResult) -> None:
    from perdure.app.cli import render

    _print_problems(result)
    if result.config is not None:
        integrations = result.config.integrations
        counts = {
            "integration": len(integrations),
            "sync": sum(len(integration.syncs) for integration in integrations),
            "action": sum(len(integration.actions) for integration in integrations),
            "model": len(result.config.models),
        }
        said = ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())
        render.say(f"{file}: fine ({said})")
    else:
        count = len(result.errors)
        render.note(f"{file}: {count} {'error' if count == 1 else 'errors'}")


def _print_problems(result: ParseResult) -> None:
    from config.problems import format_problem
    from perdure.app.cli import render

    for problem in (*result.errors, *result.warnings):
        render.problem(format_problem(problem, result.source), problem.severity)
