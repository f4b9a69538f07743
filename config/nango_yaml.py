"""Reading a `nango.yaml`: the door of this package for everybody else.

Whatever the file holds, these functions return a `ParseResult`; they never raise for a bad file.
All that is wrong with it is said at once.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from config.models import ModelReader
from config.problems import FileCode, Position, Problem, ProblemLog, format_problem
from config.project import NangoConfig, ParseResult
from config.schema import check_schema
from config.semantics import read_integrations
from perdure.documents.nodes import MAX_CHARACTERS, Mapping, Node, YamlError, read_yaml

__all__ = [
    "FILE_NAME",
    "NangoConfig",
    "ParseResult",
    "Position",
    "Problem",
    "format_problem",
    "load_project",
    "parse_nango_yaml",
    "read_bytes",
]

FILE_NAME = "nango.yaml"
"""Name of the file in a project folder."""


def load_project(project_dir: Path) -> ParseResult:
    """Return the config of the project folder `project_dir`, or why there is none."""
    path = project_dir / FILE_NAME
    try:
        content = read_bytes(path)
    except FileNotFoundError:
        other = project_dir / "nango.yml"
        hint = f"rename {other.name} to {FILE_NAME}" if other.exists() else "run `perdure init`"
        message = f"There is no {FILE_NAME} in {project_dir}."
        return _refused(Problem(FileCode.NOT_FOUND, message, hint=hint))
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
        return _refused(Problem(FileCode.UNREADABLE, message))
    return parse_nango_yaml(content)


def read_bytes(path: Path) -> bytes:
    """Return the content of a file, or as much of it as shows that it is too large.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        # A byte more than is read tells a file that is too large without reading all of it.
        return file.read(4 * MAX_CHARACTERS + 1)


def parse_nango_yaml(text: str | bytes, *, file: str = FILE_NAME) -> ParseResult:
    """Return the config that `text` describes, and all that is wrong with it.

    Args:
        text: The file's content; bytes are UTF-8.
        file: How problems name the file.
    """
    try:
        source = text if isinstance(text, str) else _decode(text)
        source.encode()
    except UnicodeError:
        message = "The file is not UTF-8 text."
        return _refused(Problem(FileCode.YAML, message, hint="save it as UTF-8"))
    source = source.removeprefix("\ufeff")
    try:
        return _read(read_yaml(source, file), source, file)
    except YamlError as error:
        return _refused(*error.problems, source=source)


def _decode(content: bytes) -> str:
    # What is too large may have been cut within a character; that it is too large is told later.
    is_whole = len(content) <= 4 * MAX_CHARACTERS
    return codecs.utf_8_decode(content, "strict", is_whole)[0]


def _read(root: Node | None, source: str, file: str) -> ParseResult:
    log = ProblemLog()
    schema = check_schema(root, file, log)
    sections = root if isinstance(root, Mapping) else None
    models = ModelReader(sections.get("models") if sections else None, log)
    models.read_all()
    before = len(log.errors)
    integrations = read_integrations(
        sections.get("integrations") if sections else None, schema, models, log
    )
    config = None
    if not log.errors:
        config = NangoConfig(schema.version, integrations, tuple(models.models.values()))
    if not models.sound:
        log.mark_follow_ups(of=None, errors=before, warnings=len(log.warnings))
    # What a broken model leads to elsewhere is no news.
    warnings = log.warnings if models.sound else []
    errors = _in_order(log.errors)
    return ParseResult(
        config, errors, _in_order(warnings), source, root, tuple(models.false_alarms)
    )


def _refused(*problems: Problem, source: str | None = None) -> ParseResult:
    return ParseResult(None, problems, (), source)


def _in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    def place(problem: Problem) -> tuple[int, int]:
        position = problem.position
        return (position.line, position.column) if position else (0, 0)

    return tuple(sorted(problems, key=place))
