"""From the files of a project to what a deploy stores: parsed, checked, with generated models.

Nothing here executes a script, so the server may use it on whatever it is sent.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from config.models_py import generate_models_py
from config.nango_yaml import parse_nango_yaml
from config.partial import Target, narrowed, resolved
from config.problems import Path, Position, Problem, format_problem
from config.project import Action, NangoConfig, ParseResult, Sync
from config.scripts import NamedScript, Project, named_scripts, reachable_files
from perdure.errors import FieldError, InvalidInputError
from perdure.scripts.bundle import CONFIG_FILE, MODELS_FILE, ScriptPlaces
from perdure.scripts.lint import CERTAIN, DeclaredScript, Finding, LintCode, lint_scripts

__all__ = [
    "CheckedProject",
    "CompiledProject",
    "as_problem",
    "check_project",
    "compile_part",
    "compile_project",
]

_OF_SCRIPTS = frozenset(LintCode)


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
        project: What the environment is to hold.
        target: The part of it that is deployed.
        warnings: What is to be said about it, as people read it.
    """

    project: Project
    target: Target
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
    parsed, project = _parsed(files)
    return _compiled(project, Target(), _checked(project, parsed))


def compile_part(files: Mapping[str, str], active: Project, target: Target) -> CompiledProject:
    """Check what an environment will hold when only a part of a project is deployed to it.

    Every file that the part brings along is judged as by `compile_project`. Of what stays as it
    is, only what was not wrong before is: a name that a module had, and has no longer.

    Args:
        files: The project that holds the part, as for `compile_project`. Scripts outside of the
            part are not looked at.
        active: What is deployed.
        target: The part.

    Raises:
        InvalidInputError: As `compile_project` and `narrowed` raise it.
    """
    parsed, whole = _parsed(files)
    target = resolved(active, whole, target)
    project = narrowed(active, whole, target)
    checked = _checked(project, parsed)
    named = [one for item in project.config.integrations for one in named_scripts(item)]
    targeted = [one for one in named if target.covers(one.key)]
    places = ScriptPlaces(project.files)
    brought: set[Path] = {one.place for one in targeted}
    paths = (one.path(places) for one in targeted)
    brought |= {(path,) for path in reachable_files(project.files, paths)}
    ours: list[Problem] = []
    theirs: list[Problem] = []
    for problem in checked.problems:
        is_ours = problem.code not in _OF_SCRIPTS or problem.path in brought
        (ours if is_ours else theirs).append(problem)
    if theirs:
        known = {_identity(problem) for problem in _checked(active, None).problems}
        ours += [_of_what_stays(found) for found in theirs if _identity(found) not in known]
    return _compiled(project, target, replace(checked, problems=tuple(ours)))


def check_project(files: Mapping[str, str]) -> CheckedProject:
    """Return what is to be said about a project.

    Args:
        files: Content by path below the project folder; `nango.yaml` is one of them.

    Raises:
        InvalidInputError: `failed_to_parse_nango_yaml`: there is no such file.
    """
    parsed = _parse(files)
    if parsed.config is None:
        return _unparsed(files, parsed)
    return _checked(_complete(files, parsed.config), parsed)


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


def _parse(files: Mapping[str, str]) -> ParseResult:
    if CONFIG_FILE not in files:
        msg = f"The project has no {CONFIG_FILE}."
        raise InvalidInputError(msg, code="failed_to_parse_nango_yaml")
    return parse_nango_yaml(files[CONFIG_FILE], file=CONFIG_FILE)


def _parsed(files: Mapping[str, str]) -> tuple[ParseResult, Project]:
    parsed = _parse(files)
    if parsed.config is None:
        raise _refused("failed_to_parse_nango_yaml", _unparsed(files, parsed), parsed.errors)
    return parsed, _complete(files, parsed.config)


def _unparsed(files: Mapping[str, str], parsed: ParseResult) -> CheckedProject:
    return CheckedProject(None, files, (), (*parsed.errors, *parsed.warnings))


def _complete(files: Mapping[str, str], config: NangoConfig) -> Project:
    kept = {
        path: text for path, text in files.items() if path.endswith(".py") or path == CONFIG_FILE
    }
    return Project({**kept, MODELS_FILE: generate_models_py(config)}, config)


def _checked(project: Project, parsed: ParseResult | None) -> CheckedProject:
    """Check a project that parses; `parsed` knows where its file names which script."""
    places = ScriptPlaces(project.files)
    scripts: dict[DeclaredScript, None] = {}
    problems = [*parsed.warnings] if parsed else []
    for integration in project.config.integrations:
        for named in named_scripts(integration):
            path = named.path(places)
            if path is None:
                problems.append(_missing(named, parsed))
            else:
                scripts[_declared(named, path)] = None
    problems += map(as_problem, lint_scripts(project.files, tuple(scripts)))
    return CheckedProject(project.config, project.files, tuple(scripts), tuple(problems))


def _declared(named: NamedScript, path: str) -> DeclaredScript:
    match named.declared:
        case Sync(output=models, webhook_subscriptions=webhooks):
            return DeclaredScript(
                path, named.kind, named.name, models=models, takes_webhooks=bool(webhooks)
            )
        case Action(input=taken):
            return DeclaredScript(path, named.kind, named.name, takes_input=taken is not None)
        case None:
            return DeclaredScript(path, named.kind, named.name)


def _missing(named: NamedScript, parsed: ParseResult | None) -> Problem:
    message = f"The script {named.new_path} does not exist."
    hint = "`perdure generate` writes one to start from"
    position = None
    if parsed is not None:
        # In the older layout scripts stand right below their integration.
        in_v1 = ("integrations", named.place[0], named.place[-1])
        position = parsed.locate("integrations", *named.place) or parsed.locate(*in_v1)
    return Problem(LintCode.MISSING, message, named.place, position, hint)


def _compiled(project: Project, target: Target, checked: CheckedProject) -> CompiledProject:
    reached: Container[str] = ()
    if any(problem.code == LintCode.SYNTAX for problem in checked.problems):
        reached = reachable_files(checked.files, (script.path for script in checked.scripts))
    problems = [_unless_certain(problem, reached) for problem in checked.problems]
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise _refused("compile_failed", checked, errors)
    return CompiledProject(project, target, tuple(checked.text(found) for found in problems))


def _unless_certain(problem: Problem, reached: Container[str]) -> Problem:
    is_doubtful = problem.code in _OF_SCRIPTS - CERTAIN
    if problem.code == LintCode.SYNTAX and problem.path[0] not in reached:
        is_doubtful = True  # a file that no script imports stops no run
    return replace(problem, severity="warning") if is_doubtful else problem


def _identity(problem: Problem) -> tuple[str, Path, str]:
    return problem.code, problem.path, problem.message


def _of_what_stays(problem: Problem) -> Problem:
    hint = "this file stays as it is deployed: deploy the scripts that use it as well"
    return replace(problem, hint=hint)


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
