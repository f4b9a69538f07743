"""The schema editors check `nango.yaml` by: it agrees with what reading takes and refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from config.nango_schema import nango_schema, nango_schema_json
from config.nango_yaml import parse_nango_yaml
from config.problems import SchemaCode
from config.schema import ACTION_KEYS, EVENTS, SYNC_KEYS, V1_KEYS, V2_KEYS
from config.type_grammar import NATIVE_WORDS
from perdure.documents.nodes import Mapping, Node, Sequence, read_yaml
from perdure.documents.scalars import Timestamp

ROOT = Path(__file__).parents[3]
VALIDATOR = Draft7Validator(nango_schema())

SYNC = {"runs": "every hour", "endpoint": "GET /things", "output": "Thing"}
MODELS = "models:\n  Thing:\n    id: string\n"

VALUES = (
    *("", "''", "5", "1.5", "true", "null", "yes", "off", "[]", "{}", "[Thing]"),
    *("Thing", "thing", "[Thing, 5]", "Thing[]", "'*'", "a,b", "full", "INCREMENTAL"),
    *("every hour", "every minute", "every 5m", "EVERY 5m", "every 1.5 Hours", "30 minutes", "1h"),
    *("every 5 fortnights", "every 5s", "half day", "every half day", "cron 0 6 * * MON-FRI"),
    *("cron: 0 6 * * * Europe/Berlin", "cron 0 6 * *", "every 1h jitter 5m", "every 90000"),
    *("cron 0 6 * * * jitter 1 min", "h", "90m", "soon", "20%", "101%", "100 %", "0.5"),
    *("1.0.0", "1.0", "v1", "'2000'", "incremental", "sync", "action", "[a, b]", "[a/b]", "[.a]"),
    *("GET /things", "/things", "POST /things", "GET things", "REPORT /x", "GET /x/{Thing:id}"),
    *("{path: /things}", "{path: /x, method: POST}", "{method: GET}", "{path: things}"),
    *("{path: '/x/{Thing}', group: My Things}", "{path: /x, group: a.b}", "{path: /x, verb: 1}"),
    *("[GET /things]", "[GET /a, GET b]", "[{path: /things}]", "{post-connection-creation: [a]}"),
    *("{pre-connection-deletion: a}", "{on-weekends: [a]}", "{s: }", "{s: {}}", "{s: {a: 1}}"),
)

TYPES = (
    *("string", "' string '", "''", "' '", "a | b", "a |", "'| a'", "a || b", "'|'", "string[]"),
    *("'[]'", "'[][]'", "a | []", "Array<string>", "' Array<string>'", "a | Map<x>", "Arrays<x"),
    *("5", "1.5", "true", "null", "2020-01-01", "[string, number]", "[]", "{}", "[Array<x>]"),
    *("{a: string}", "{a: Array<x>}", "{a?: {b: 5}}", "{__extends: ''}"),
    *("{__extends: 5}", "{__string: any}", "a|b", "' a | b '", "string [] | null", "a [] | b[]"),
)


def plain(node: Node | None) -> Any:
    """What an editor makes of a file. A date is text to it, which only reading can tell apart."""
    if isinstance(node, Mapping):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    value = node.value if node else None
    return value.text if isinstance(value, Timestamp) else value


def is_valid(text: str) -> bool:
    return VALIDATOR.is_valid(plain(read_yaml(text, "nango.yaml")))


def places() -> Iterator[str]:
    """Files with a `%s` where a value stands."""
    for key in SYNC_KEYS:
        others = "".join(f", {name}: {value}" for name, value in SYNC.items() if name != key)
        yield f"integrations: {{acme: {{syncs: {{it: {{{key}: %s{others}}}}}}}}}\n{MODELS}"
    for key in ACTION_KEYS:
        endpoint = "" if key == "endpoint" else ", endpoint: POST /things"
        yield f"integrations: {{acme: {{actions: {{it: {{{key}: %s{endpoint}}}}}}}}}\n{MODELS}"
    for key in V1_KEYS:
        yield f"integrations: {{acme: {{it: {{{key}: %s}}}}}}\n{MODELS}"
        yield f"integrations: {{acme: {{it: {{{key}: %s, type: action}}}}}}\n{MODELS}"
    for event in EVENTS:
        yield f"integrations: {{acme: {{on-events: {{{event}: %s}}}}}}\n{MODELS}"
    for key in (*V2_KEYS, "other"):
        yield f"integrations: {{acme: {{{key}: %s}}}}\n{MODELS}"
        yield f"integrations: {{acme: {{{key}: %s}}, other: {{syncs: {{}}}}}}\n{MODELS}"
    yield f"integrations: %s\n{MODELS}"
    yield f"integrations: {{acme: %s}}\n{MODELS}"
    yield f"integrations: {{acme: {{it: }}}}\nother: %s\n{MODELS}"
    yield f"integrations: {{acme: {{syncs: {{}}}}}}\nother: %s\n{MODELS}"
    yield "integrations: {acme: {it: }}\nmodels: %s\n"
    yield "integrations: {acme: {it: }}\nmodels: {Other: %s}\n"


@pytest.mark.parametrize("place", [*places()])
def test_schema_takes_what_reading_takes_and_refuses_what_its_first_layer_refuses(
    place: str,
) -> None:
    for value in VALUES:
        text = place % value
        result = parse_nango_yaml(text)
        refused = any(problem.code in SchemaCode for problem in result.errors)
        if result.ok or refused:
            assert is_valid(text) is result.ok, (text, result.errors)


@pytest.mark.parametrize("value", ["runs: every 5s", "runs: every 1000 y", "retry_limit: 10ms"])
def test_schema_cannot_tell_how_long_a_time_is(value: str) -> None:
    keys = {**SYNC, **dict([value.split(": ")])}
    body = ", ".join(f"{key}: {value}" for key, value in keys.items())
    text = f"integrations: {{acme: {{syncs: {{it: {{{body}}}}}}}}}\n{MODELS}"
    assert is_valid(text)
    assert not parse_nango_yaml(text).ok


@pytest.mark.parametrize("type_", TYPES)
def test_schema_refuses_what_is_no_type(type_: str) -> None:
    text = f"integrations: {{acme: {{it: }}}}\nmodels:\n  Thing:\n    a: {type_}\n"
    assert is_valid(text) is parse_nango_yaml(text).ok


WORDS = st.sampled_from([*NATIVE_WORDS, "Thing", "open", "[]", "|", " ", "Array<", "<", ">", "5"])


@given(st.lists(WORDS, max_size=8).map("".join))
def test_schema_takes_every_type_that_is_read(type_: str) -> None:
    text = f"integrations: {{acme: {{it: }}}}\nmodels:\n  Thing:\n    a: '{type_}'\n"
    if parse_nango_yaml(text).ok:
        assert is_valid(text)


@pytest.mark.parametrize(
    "name", ["a/b", ".a", "'a\\b'", "''", "a b", "ä", "null", "5", "a" * 201, "a" * 200]
)
def test_schema_refuses_names_that_cannot_be_files(name: str) -> None:
    for text in (
        f"integrations: {{? {name} : {{it: }}}}\n{MODELS}",
        f"integrations: {{acme: {{? {name} : }}}}\n{MODELS}",
        f"integrations: {{acme: {{actions: {{? {name} : {{endpoint: /x}}}}}}}}\n{MODELS}",
        f"integrations: {{acme: {{it: }}}}\nmodels: {{? {name} : {{a: string}}}}\n",
    ):
        assert is_valid(text) is parse_nango_yaml(text).ok, text


@pytest.mark.parametrize(
    "text", ["", "[]", "5", "{}", "integrations: {}", "models: {}", "integrations: {}\nmodels: {}"]
)
def test_schema_wants_both_sections(text: str) -> None:
    assert is_valid(text) is parse_nango_yaml(text).ok


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*/nango.yaml")), ids=str)
def test_examples_are_valid(path: Path) -> None:
    assert [*VALIDATOR.iter_errors(plain(read_yaml(path.read_text(), path.name)))] == []


def test_schema_is_one_and_every_key_is_described() -> None:
    Draft7Validator.check_schema(nango_schema())
    definitions: dict[str, Any] = nango_schema()["definitions"]  # type: ignore[assignment]
    for name, keys in (("sync", SYNC_KEYS), ("action", ACTION_KEYS), ("v1Script", V1_KEYS)):
        properties = definitions[name]["properties"]
        assert {key for key, schema in properties.items() if schema["description"]} == {*keys}


def test_committed_schema_is_the_one_that_is_made() -> None:
    committed = ROOT / "schemas" / "nango.schema.json"
    assert committed.read_text() == nango_schema_json(), (
        "run `perdure config schema > schemas/nango.schema.json`"
    )
