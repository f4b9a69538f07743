"""First layer: keys and kinds of values."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from config.nango_yaml import parse_nango_yaml
from config.problems import Problem


def errors_of(text: str) -> list[Problem]:
    return [*parse_nango_yaml(dedent(text)).errors]


def sync(body: str) -> str:
    """A file whose one sync has the keys it needs and those of `body`."""
    given = {line.split(":")[0] for line in body.splitlines()}
    needed = {"runs": "every hour", "endpoint": "GET /things", "output": "Thing"}
    keys = [f"{key}: {value}" for key, value in needed.items() if key not in given]
    return _file("syncs", "\n".join([*keys, body]))


def action(body: str) -> str:
    """A file whose one action has an endpoint and the keys of `body`."""
    has_endpoint = "endpoint:" in body
    return _file("actions", body if has_endpoint else f"endpoint: POST /things\n{body}")


def _file(kind: str, body: str) -> str:
    return (
        f"integrations:\n  acme:\n    {kind}:\n      it:\n{indent(body, ' ' * 8)}\n"
        "models:\n  Thing:\n    id: string\n"
    )


PLACE = "integrations/acme/syncs/it"


@pytest.mark.parametrize(
    "body",
    [
        *("description: ''", "output: [Thing]", "sync_type: full", "sync_type: incremental"),
        *("input:", "input: Thing", "input: ''", "scopes: a,b", "scopes: []", "auto_start: false"),
        *("track_deletes: true", "webhook-subscriptions: '*'", "webhook-subscriptions: [a, b]"),
        *("retry_limit: 90m", "run_timeout: 12 hours", "delete_guard: 20%", "delete_guard: off"),
        *("version: 1", "version: '1'", "version: 1.0.0", "version: 1.0", "version: 017"),
        *("endpoint: /things", "endpoint: {path: /things}", "endpoint: [GET /things]"),
        *("endpoint: {method: GET, path: '/things/{Thing:id}', group: My Things}",),
    ],
)
def test_well_formed_sync_is_accepted(body: str) -> None:
    assert errors_of(sync(body)) == []


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        ("descripton: x", "additionalProperties", "descripton"),
        ("returns: Thing", "additionalProperties", "returns"),
        ("description: [a]", "type", "description"),
        ("description: 5", "type", "description"),
        ("output: 5", "type", "output"),
        ("output:", "type", "output"),
        ("output: [Thing, 5]", "type", "output/1"),
        ("runs: 5", "type", "runs"),
        ("runs:", "type", "runs"),
        ("input: {a: string}", "type", "input"),
        ("input: true", "type", "input"),
        ("sync_type: INCREMENTAL", "enum", "sync_type"),
        ("sync_type: true", "type", "sync_type"),
        ("auto_start: yes", "type", "auto_start"),
        ("auto_start:", "type", "auto_start"),
        ("track_deletes: 1", "type", "track_deletes"),
        ("retry_limit: 5", "type", "retry_limit"),
        ("retry_limit: soon", "pattern", "retry_limit"),
        ("run_timeout: 10ms", "pattern", "run_timeout"),
        ("delete_guard: 0.5", "pattern", "delete_guard"),
        ("delete_guard: 101%", "pattern", "delete_guard"),
        ("scopes:", "type", "scopes"),
        ("webhook-subscriptions: 5", "type", "webhook-subscriptions"),
        ("version: 1.5", "oneOf", "version"),
        ("version: v1", "oneOf", "version"),
        ("version: true", "oneOf", "version"),
        ("version:", "oneOf", "version"),
        ("endpoint:", "type", "endpoint"),
        ("endpoint: GET things", "type", "endpoint"),
        ("endpoint: GET /", "type", "endpoint"),
        ("endpoint: POST /things", "type", "endpoint"),
        ("endpoint: GET /things/{Thing}", "type", "endpoint"),
        ("endpoint: {method: GET}", "type", "endpoint"),
        ("endpoint: {path: things}", "pattern", "endpoint/path"),
        ("endpoint: {path: 5}", "type", "endpoint/path"),
        ("endpoint: {path: /x, method: POST}", "enum", "endpoint/method"),
        ("endpoint: {path: /x, group: a.b}", "pattern", "endpoint/group"),
        ("endpoint: {path: /x, verb: GET}", "additionalProperties", "endpoint/verb"),
        ("endpoint: [GET /x, GET y]", "type", "endpoint/1"),
    ],
)
def test_malformed_sync_is_refused_once(body: str, code: str, path: str) -> None:
    [problem] = errors_of(sync(body))
    assert problem.code == code
    assert "/".join(map(str, problem.path)) == f"{PLACE}/{path}"
    assert problem.position
    assert problem.position.line > 4


@pytest.mark.parametrize("key", ["endpoint", "output", "runs"])
def test_key_that_a_sync_needs_is_missed(key: str) -> None:
    lines = [line for line in sync("").splitlines() if f" {key}:" not in line]
    [problem] = errors_of("\n".join(lines))
    assert problem.code == "required"
    assert problem.path == ("integrations", "acme", "syncs", "it", key)
    assert problem.position
    assert problem.position.line == 4


@pytest.mark.parametrize(
    "body",
    [
        *("endpoint: /x", "endpoint: REPORT /x", "endpoint: DELETE '/x'".replace("'", "")),
        *("endpoint: 'PUT /x/{Thing:id}'", "endpoint: {method: PATCH, path: /x}"),
        *("input: null", "output: Thing", "scopes: [a]", "version: 2"),
    ],
)
def test_well_formed_action_is_accepted(body: str) -> None:
    assert errors_of(action(body)) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("runs: every hour", "additionalProperties"),
        ("output:", "type"),
        ("endpoint: POST x", "oneOf"),
        ("endpoint: post /x", "oneOf"),
        ("endpoint: HEAD /x", "oneOf"),
        ("endpoint: FETCH /x", "oneOf"),
        ("endpoint: POST /x?y=1", "oneOf"),
        ("endpoint: [POST /x]", "oneOf"),
        ("endpoint: {method: POST}", "oneOf"),
        ("endpoint: {method: HEAD, path: /x}", "enum"),
    ],
)
def test_malformed_action_is_refused_once(body: str, code: str) -> None:
    assert [problem.code for problem in errors_of(action(body))] == [code]


@pytest.mark.parametrize("text", ["", "# nothing", "[]", "word", "5", "models: {}"])
def test_file_without_integrations_says_what_it_needs(text: str) -> None:
    [problem] = errors_of(text)
    assert problem.code == "no_integrations"
    assert "`integrations`" in problem.message


@pytest.mark.parametrize("value", ["[]", "word", "5"])
def test_integrations_are_a_mapping(value: str) -> None:
    [problem] = errors_of(f"integrations: {value}\nmodels: {{}}")
    assert (problem.code, problem.path) == ("type", ("integrations",))


def test_no_integrations_are_fine() -> None:
    assert errors_of("integrations: {}\nmodels: {}") == []


def test_models_are_missed() -> None:
    [problem] = errors_of("integrations: {}")
    assert (problem.code, problem.path) == ("required", ("models",))


@pytest.mark.parametrize("models", ["", "[]", "5"])
def test_models_are_a_mapping(models: str) -> None:
    [problem] = errors_of(f"integrations: {{}}\nmodels: {models}")
    assert (problem.code, problem.path) == ("type", ("models",))


@pytest.mark.parametrize("model", ["", "[a]", "string"])
def test_model_is_a_mapping(model: str) -> None:
    [problem] = errors_of(f"integrations: {{}}\nmodels:\n  M: {model}")
    assert (problem.code, problem.path) == ("type", ("models", "M"))


def test_unknown_keys_are_refused_everywhere_with_what_was_meant() -> None:
    problems = errors_of(
        """
        integration: {}
        integrations:
          acme:
            sync: {}
            on-events:
              post-connection-create: [a]
            things:
              runs: every hour
            actions: {}
        models: {}
        """
    )
    assert [problem.code for problem in problems] == ["additionalProperties"] * 4
    assert [problem.hint for problem in problems] == [
        "did you mean `integrations`?",
        "did you mean `syncs`?",
        "did you mean `post-connection-creation`?",
        "syncs stand under `syncs`, actions under `actions`",
    ]


@pytest.mark.parametrize(
    ("events", "codes"),
    [
        ("{}", []),
        ("{post-connection-creation: []}", []),
        ("{post-connection-creation: [a, b_2, c-3], validate-connection: [d]}", []),
        ("", ["type"]),
        ("[a]", ["type"]),
        ("{post-connection-creation: a}", ["type"]),
        ("{post-connection-creation: [5]}", ["type"]),
        ("{post-connection-creation: ['a b', ../x]}", ["pattern", "pattern"]),
    ],
)
def test_on_events_are_lists_of_names(events: str, codes: list[str]) -> None:
    text = f"integrations:\n  acme:\n    on-events: {events}\nmodels: {{}}"
    assert [problem.code for problem in errors_of(text)] == codes


@pytest.mark.parametrize("name", ["../x", "a/b", "'a\\b'", ".hidden", "'a\tb'", "''"])
def test_name_that_would_leave_its_folder_is_refused(name: str) -> None:
    for text in (
        f"integrations:\n  {name}:\n    syncs: {{}}\nmodels: {{}}",
        f"integrations:\n  acme:\n    actions:\n      {name}: {{endpoint: /x}}\nmodels: {{}}",
        f"integrations:\n  acme:\n    {name}: {{type: action}}\nmodels: {{}}",
    ):
        assert [problem.code for problem in errors_of(text)] == ["pattern"]


def test_odd_but_harmless_names_pass() -> None:
    assert errors_of("integrations:\n  a b.c:\n    syncs: {}\nmodels: {}") == []


def test_null_script_is_refused_in_the_new_layout_and_not_in_the_old() -> None:
    [problem] = errors_of("integrations:\n  acme:\n    syncs:\n      it:\nmodels: {}")
    assert problem.code == "type"
    assert errors_of("integrations:\n  acme:\n    it:\nmodels: {}") == []


def test_everything_wrong_is_told_at_once_and_in_order() -> None:
    problems = errors_of(
        """
        integrations:
          acme:
            syncs:
              one:
                runs: every 5s
                endpoint: GET /one
                output: Thing
                autostart: true
              two:
                runs: every hour
                endpoint: GET /one
                output: [Thing, Other]
            actions:
              three:
                endpoint: POST /{Nobody}
                input: 5
        models:
          Thing:
            id: Array<string>
          Other:
            name: string
        """
    )
    assert [
        (problem.position.line if problem.position else 0, problem.code) for problem in problems
    ] == [
        (6, "invalid_runs"),
        (9, "additionalProperties"),
        (12, "endpoints_mismatch"),
        (12, "duplicate_endpoint"),
        (13, "duplicate_model"),
        (13, "model_missing_id"),
        (16, "model_not_found"),
        (17, "type"),
        (20, "type_syntax_error"),
    ]
