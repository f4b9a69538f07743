"""No file brings the reader down, and none takes long."""

from __future__ import annotations

import json
import time

from hypothesis import given
from hypothesis import strategies as st

from config.canonical import canonical_document
from config.models_py import generate_models_py
from config.nango_yaml import parse_nango_yaml
from config.problems import format_problem
from config.project import NangoConfig, ParseResult


def check(text: str | bytes) -> ParseResult:
    """Whatever the file, there is either a config that can be used or an error that can be told."""
    result = parse_nango_yaml(text)
    assert result.ok == (not result.errors)
    for problem in (*result.errors, *result.warnings):
        assert problem.message
        assert format_problem(problem, result.source)
    assert canonical_document(result)["accepted"] == result.ok
    if result.config:
        assert NangoConfig.from_json(result.config.to_json()) == result.config
        compile(generate_models_py(result.config), "models.py", "exec")
    return result


_WORDS = [
    *("integrations", "models", "syncs", "actions", "on-events", "post-connection-scripts"),
    *("runs", "endpoint", "output", "input", "sync_type", "auto_start", "track_deletes", "scopes"),
    *("version", "description", "webhook-subscriptions", "returns", "type", "method", "path"),
    *("post-connection-creation", "__extends", "__string", "id", "M", "N", "string", "M[]"),
    *("every hour", "GET /x", "POST /{M}", "A | B | null", "<<", "10foo", "", "~", "yes", "a?"),
    *("../x", "1", "0x1F", "1.5", ".inf", "2020-01-01", "Array<M>", "cron 0 6 * * *"),
]

_scalars = (
    st.sampled_from(_WORDS)
    | st.integers()
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
)
_trees = st.recursive(
    _scalars,
    lambda trees: (
        st.lists(trees, max_size=4)
        | st.dictionaries(st.sampled_from(_WORDS) | st.text(max_size=5), trees, max_size=5)
    ),
    max_leaves=30,
)


def _dump(tree: object) -> str:
    return json.dumps(tree, ensure_ascii=False)


_scripts = st.dictionaries(
    st.sampled_from(["one", "two", "a b"]),
    st.dictionaries(st.sampled_from(_WORDS), _trees, max_size=8),
    max_size=3,
)
_files = st.fixed_dictionaries(
    {},
    optional={
        "integrations": st.dictionaries(
            st.sampled_from(["acme", "ac-me"]),
            st.fixed_dictionaries({}, optional={"syncs": _scripts, "actions": _scripts})
            | _scripts
            | _trees,
            max_size=2,
        ),
        "models": st.dictionaries(
            st.sampled_from(["M", "N", "Bad.Name", "string"]),
            st.dictionaries(st.sampled_from(_WORDS), _trees, max_size=6) | _trees,
            max_size=4,
        ),
    },
)


@given(_files.map(_dump))
def test_any_file_of_the_right_shape_is_read_or_refused(text: str) -> None:
    check(text)


@given(st.text(max_size=200) | _trees.map(_dump))
def test_any_text_is_read_or_refused(text: str) -> None:
    check(text)


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    check(content)


_PIECES = [
    *("integrations", "models", "syncs", ":", ": ", "\n", "\n  ", "\n    ", "- ", "[", "]", "{"),
    *("}", ",", "&a ", "*a", "<<: *a", "!x ", "!!str ", "|", ">", "'", '"', "#", "? ", "---\n"),
    *("...", "%YAML 1.2\n", "\t", "\r\n", "\x85", "\u2028", "é", "\\", "\0", "M", "string", "5"),
]


@given(st.lists(st.sampled_from(_PIECES), max_size=40).map("".join))
def test_any_pile_of_yaml_is_read_or_refused(text: str) -> None:
    check(text)


def test_large_project_is_read_in_seconds() -> None:
    lines = ["integrations:"]
    for i in range(200):
        lines += [f"  integration-{i}:", "    syncs:"]
        for j in range(5):
            lines += [
                f"      sync-{j}:",
                "        description: Fetches things",
                "        runs: every hour",
                f"        endpoint: GET /things/{j}",
                f"        output: M{i * 10 + j}",
            ]
    lines.append("models:")
    for i in range(2_000):
        lines += [
            f"  M{i}:",
            "    id: string",
            "    at?: date",
            "    state: open | closed | null",
            "    tags: string[]",
            f"    next?: M{(i + 1) % 2_000}",
        ]
    text = "\n".join(lines)
    start = time.process_time()
    result = parse_nango_yaml(text)
    # A second, on most machines; what grows with the square of the models takes minutes.
    assert time.process_time() - start < 15
    assert result.ok
