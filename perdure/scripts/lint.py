"""Checks the scripts of a project without running them.

What workflow code may not do, and what looks wrong but may be meant, are warnings; the rest are
errors. Code that only `nango.run` leads to runs as a step and may do what it likes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from perdure.scripts.lint_calls import (
    check_awaits,
    check_helper_calls,
    check_order,
    named_model,
)
from perdure.scripts.lint_entry_points import check_entry_points
from perdure.scripts.lint_findings import (
    CERTAIN,
    DeclaredScript,
    EntryPoint,
    Finding,
    LintCode,
    Severity,
)
from perdure.scripts.lint_impure import impure_calls
from perdure.scripts.lint_names import check_names
from perdure.scripts.lint_project import Project
from perdure.scripts.lint_source import Unit

__all__ = [
    "CERTAIN",
    "DeclaredScript",
    "EntryPoint",
    "Finding",
    "LintCode",
    "Severity",
    "lint_scripts",
]


def lint_scripts(files: Mapping[str, str], scripts: Sequence[DeclaredScript]) -> list[Finding]:
    """Return everything that is to be said about the scripts of a project, in order of place.

    Args:
        files: Content of all its files by path.
        scripts: Those that `nango.yaml` names and that have a file.
    """
    project = Project(files)
    findings = [*project.syntax_errors]
    led_to_by: dict[Unit, list[DeclaredScript]] = {}
    for script in scripts:
        if script.path not in project.files:
            continue
        findings += check_entry_points(project, script)
        names = [entry_point.name for entry_point in script.entry_points]
        units = project.reachable(script.path, names)
        findings += _unpaired(units)
        for unit in units:
            led_to_by.setdefault(unit, []).append(script)
    findings += check_names(project, [script.path for script in scripts])
    for unit, by in led_to_by.items():
        findings += impure_calls(unit)
        findings += check_awaits(unit)
        findings += check_order(unit)
        findings += check_helper_calls(unit, by)
    return sorted(dict.fromkeys(findings), key=lambda found: (found.path, found.line, found.column))


def _unpaired(units: Sequence[Unit]) -> Iterator[Finding]:
    """Yield where a script begins to track deletions and never ends it, or the other way round."""
    calls = [
        (attribute, unit, named_model(attribute, unit))
        for unit in units
        for attribute in unit.helper_attributes
        if attribute.attr in _OTHER_OF_PAIR
    ]
    # A model that is not named by a literal may be any.
    seen = {(attribute.attr, named[0] if named else None) for attribute, _, named in calls}
    for attribute, unit, named in calls:
        other = _OTHER_OF_PAIR[attribute.attr]
        if named and not seen & {(other, named[0]), (other, None)}:
            message = f"`nango.{attribute.attr}` has no `nango.{other}` for `{named[0]}`."
            hint = "begin before the first record is saved, and end after the last one"
            yield unit.file.finding(LintCode.TRACK_DELETES, message, attribute, hint=hint)


_OTHER_OF_PAIR = {
    "track_deletes_end": "track_deletes_start",
    "track_deletes_start": "track_deletes_end",
}
