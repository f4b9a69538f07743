"""`perdure compile`: everything that is wrong with a project, before it is deployed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perdure.app.cli.errors import ExitCode, failing_with
from perdure.app.cli.options import AsJson

if TYPE_CHECKING:
    from pydantic import JsonValue

    from config.compile import CheckedProject
    from config.problems import Problem

__all__ = ["compile_"]


def compile_(*, project: Path = Path(), as_json: AsJson = False) -> int:
    """Check nango.yaml and every script: what is missing, what would fail, what looks wrong.

    The scripts are loaded, but nothing of them is run.

    Args:
        project: Project folder.
        as_json: Print JSON.
    """
    from config.compile import check_project
    from perdure.app.cli import render
    from perdure.scripts.bundle import project_files

    with failing_with(ExitCode.COMPILE):
        checked = check_project(project_files(project))
    problems = sorted([*checked.problems, *_found_by_loading(checked)], key=_place)
    errors = [problem for problem in problems if problem.severity == "error"]
    warnings = [problem for problem in problems if problem.severity == "warning"]
    if as_json:
        document: dict[str, JsonValue] = {
            "ok": not errors,
            "errors": [_as_json(problem) for problem in errors],
            "warnings": [_as_json(problem) for problem in warnings],
        }
        render.print_json(document)
    else:
        for problem in problems:
            render.problem(checked.text(problem), problem.severity)
        _summarize(checked, errors, warnings)
    return ExitCode.COMPILE if errors else ExitCode.OK


def _found_by_loading(checked: CheckedProject) -> Iterator[Problem]:
    """Yield what only loading the scripts shows."""
    if checked.config is None:
        return
    from config.compile import as_problem
    from perdure.scripts.bundle import Bundle, bundle_hash
    from perdure.scripts.lint_findings import ABOUT_ENTRY_POINTS, LintCode
    from perdure.scripts.lint_loading import load_scripts

    judged = {
        problem.position.file
        for problem in checked.problems
        if problem.position and problem.code in ABOUT_ENTRY_POINTS
    }
    known = {_line(problem) for problem in checked.problems if problem.code == LintCode.IMPORT}
    bundle = Bundle(bundle_hash(checked.files, checked.config.to_json()), checked.files)
    for finding in load_scripts(bundle, checked.scripts):
        if finding.path in judged and finding.code in ABOUT_ENTRY_POINTS:
            continue
        problem = as_problem(finding)
        if problem.code != LintCode.IMPORT or _line(problem) not in known:
            yield problem


def _line(problem: Problem) -> tuple[str, int]:
    file, line, _ = _place(problem)
    return file, line


def _place(problem: Problem) -> tuple[str, int, int]:
    position = problem.position
    return (position.file, position.line, position.column) if position else ("", 0, 0)


def _as_json(problem: Problem) -> JsonValue:
    position = problem.position
    return {
        "code": problem.code,
        "message": problem.message,
        "hint": problem.hint,
        "file": position.file if position else None,
        "line": position.line if position else None,
        "column": position.column if position else None,
        "path": [*problem.path],
    }


def _summarize(
    checked: CheckedProject, errors: Sequence[Problem], warnings: Sequence[Problem]
) -> None:
    from perdure.app.cli import render

    counts = [
        f"{len(found)} {what}{'' if len(found) == 1 else 's'}"
        for what, found in (("error", errors), ("warning", warnings))
        if found
    ]
    if errors or checked.config is None:
        render.note(", ".join(counts))
        return
    integrations, scripts = len(checked.config.integrations), len(checked.scripts)
    said = [
        f"{integrations} {'integration' if integrations == 1 else 'integrations'}",
        f"{scripts} {'script' if scripts == 1 else 'scripts'}",
        *counts,
    ]
    render.say(f"Fine: {', '.join(said)}.")
