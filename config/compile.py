"""From the files of a project to what a deploy stores: parsed, checked, with generated models.

Nothing here executes a script, so the server may use it on whatever it is sent.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from config.models_py import generate_models_py
from config.nango_yaml import parse_nango_yaml
from config.problems import Path, Position, Problem, format_problem
from config.project import Event, Integration, NangoConfig, ParseResult
from config.scripts import reachable_files
from perdure.errors import FieldError, InvalidInputError
from perdure.ids import BundleHash
from perdure.scripts.bundle import CONFIG_FILE, MODELS_FILE, ScriptKind, bundle_hash
from perdure.scripts.lint import CERTAIN, DeclaredScript, Finding, LintCode, lint_scripts

__all__ = ["CheckedProject", "CompiledProject", "as_problem", "check_project", "compile_project"]

_EVENTS: tuple[Event, ...] = (
    "post-connection-creation",
    "pre-connection-deletion",
    "validate-connection",
)
_POST_CONNECTION = "post-connection-scripts"


@dataclass(frozen=True, slots=True)
class CheckedProject:
    """What can be said about a project without running it.

    Attributes:
        config: The parsed `nango.yaml`, None when it has an error; scripts are not looked at then.
        files: Every file that counts, `models.py` generated.
        scripts: The scripts that `nango.yaml` names and that exist.
        problems: Everything that is wrong, and the warnings.
    """

    config: NangoConfig | None
    files: Mapping[str, str]
    scripts: tuple[DeclaredScript, ...]
    problems: tuple[Problem, ...]

    def text(self, problem: Problem) -> str:
        """Return a problem as people read it, with the line it is about."""
        position = problem.position
        return format_problem(problem, self.files.get(position.file) if position else None)


@dataclass(frozen=True, slots=True)
class CompiledProject:
    """A project that can be deployed.

    Attributes:
        hash: Content hash of the bundle.
        files: Every file, `models.py` generated.
        config: The parsed `nango.yaml`.
        warnings: What is to be said about it, as people read it.
    """

    hash: BundleHash
    files: Mapping[str, str]
    config: NangoConfig
    warnings: tuple[str, ...]


def compile_project(files: Mapping[str, str]) -> CompiledProject:
    """Check a project and generate its models.

    A script is refused where its runs could only fail; what merely looks wrong is a warning.

    Args:
        files: Content by path below the project folder; `nango.yaml` is one of them.

    Raises:
        InvalidInputError: With everything that is wrong at once: `failed_to_parse_nango_yaml`,
            or `compile_failed` where it is a script. The payload holds `problems`, each a text
            with file, line and column.
    """
    checked = check_project(files)
    if checked.config is None:
        raise _refused("failed_to_parse_nango_yaml", checked, checked.problems)
    reached: Container[str] = ()
    if any(problem.code == LintCode.SYNTAX for problem in checked.problems):
        reached = reachable_files(checked.files, (script.path for script in checked.scripts))
    problems = [_unless_certain(problem, reached) for problem in checked.problems]
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise _refused("compile_failed", checked, errors)
    return CompiledProject(
        hash=bundle_hash(checked.files, checked.config.to_json()),
        files=checked.files,
        config=checked.config,
        warnings=tuple(checked.text(problem) for problem in problems),
    )


def check_project(files: Mapping[str, str]) -> CheckedProject:
    """Return what is to be said about a project.

    Args:
        files: Content by path below the project folder; `nango.yaml` is one of them.

    Raises:
        InvalidInputError: `failed_to_parse_nango_yaml`: there is no such file.
    """
    if CONFIG_FILE not in files:
        msg = f"The project has no {CONFIG_FILE}."
        raise InvalidInputError(msg, code="failed_to_parse_nango_yaml")
    parsed = parse_nango_yaml(files[CONFIG_FILE], file=CONFIG_FILE)
    if parsed.config is None:
        return CheckedProject(None, files, (), (*parsed.errors, *parsed.warnings))
    complete = {
        path: text for path, text in files.items() if path.endswith(".py") or path == CONFIG_FILE
    }
    complete[MODELS_FILE] = generate_models_py(parsed.config)
    found = [*_declared_scripts(parsed, complete)]
    scripts = tuple(dict.fromkeys(one for one in found if isinstance(one, DeclaredScript)))
    missing = (one for one in found if isinstance(one, Problem))
    findings = map(as_problem, lint_scripts(complete, scripts))
    return CheckedProject(parsed.config, complete, scripts, (*parsed.warnings, *missing, *findings))


def as_problem(finding: Finding) -> Problem:
    """Return what was found in a script in the form that all problems have."""
    place = (finding.path, finding.line, finding.column, finding.end_line, finding.end_column)
    return Problem(
        finding.code,
        finding.message,
        (finding.path,),
        Position(*place),
        finding.hint,
        finding.severity,
    )


def _unless_certain(problem: Problem, reached: Container[str]) -> Problem:
    is_doubtful = problem.code in frozenset(LintCode) - CERTAIN
    if problem.code == LintCode.SYNTAX and problem.path[0] not in reached:
        is_doubtful = True  # a file that no script imports stops no run
    return replace(problem, severity="warning") if is_doubtful else problem


def _refused(code: str, checked: CheckedProject, problems: Sequence[Problem]) -> InvalidInputError:
    errors = [problem for problem in problems if problem.severity == "error"]
    texts = [checked.text(problem) for problem in errors]
    count = f"{len(errors)} {'problem' if len(errors) == 1 else 'problems'}"
    return InvalidInputError(
        "\n".join([f"{count}; nothing was deployed.", *texts]),
        code=code,
        errors=[FieldError(error.code, error.message, error.path) for error in errors],
        payload={"problems": texts},
    )


def _declared_scripts(
    parsed: ParseResult, files: Mapping[str, str]
) -> Iterator[DeclaredScript | Problem]:
    """Yield the scripts that `nango.yaml` names, or what is to be said where one is missing."""
    plain: dict[str, str] = {}
    for path in files:
        plain.setdefault(_plain(path), path)
    for integration in parsed.config.integrations if parsed.config else ():
        for script, place in _wanted(integration):
            # Scripts of the older key may lie in a folder of its name.
            older = script.path.replace(f"/{ScriptKind.ON_EVENT}/", f"/{_POST_CONNECTION}/")
            paths = (older, script.path) if _POST_CONNECTION in place else (script.path,)
            known = (path if path in files else plain.get(_plain(path)) for path in paths)
            found = next(filter(None, known), None)
            yield replace(script, path=found) if found else _missing(script, place, parsed)


def _wanted(integration: Integration) -> Iterator[tuple[DeclaredScript, Path]]:
    """Yield what an integration names, as if it were there, and where it does so."""
    key = integration.key
    for sync in integration.syncs:
        yield (
            DeclaredScript(
                _path(key, ScriptKind.SYNC, sync.name),
                ScriptKind.SYNC,
                sync.name,
                models=sync.output,
                takes_webhooks=bool(sync.webhook_subscriptions),
            ),
            (key, "syncs", sync.name),
        )
    for action in integration.actions:
        kind = ScriptKind.ACTION
        path = _path(key, kind, action.name)
        takes_input = action.input is not None
        script = DeclaredScript(path, kind, action.name, takes_input=takes_input)
        yield script, (key, "actions", action.name)
    for event in _EVENTS:
        is_older = event == _EVENTS[0] and not integration.on_events.post_connection_creation
        place: Path = (key, _POST_CONNECTION) if is_older else (key, "on-events", event)
        for index, name in enumerate(integration.event_scripts(event)):
            path = _path(key, ScriptKind.ON_EVENT, name)
            yield DeclaredScript(path, ScriptKind.ON_EVENT, name), (*place, index)


def _missing(script: DeclaredScript, place: Path, parsed: ParseResult) -> Problem:
    message = f"The script {script.path} does not exist."
    hint = "`perdure generate` writes one to start from"
    # In the older layout scripts stand right below their integration.
    in_v1 = ("integrations", place[0], place[-1])
    position = parsed.locate("integrations", *place) or parsed.locate(*in_v1)
    return Problem(LintCode.MISSING, message, place, position, hint)


def _path(integration: str, kind: ScriptKind, name: str) -> str:
    return PurePosixPath(integration, kind, f"{name}.py").as_posix()


def _plain(path: str) -> str:
    return path.replace("-", "_")
