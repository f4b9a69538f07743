"""Second layer: integrations, their syncs, actions and event scripts."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from config.intervals import Interval
from config.nango_yaml import parse_nango_yaml
from config.project import (
    Action,
    ArrayType,
    Endpoint,
    Integration,
    OnEvents,
    ParseResult,
    ReferenceType,
    Sync,
)

MODELS = """
models:
  Issue: {id: string, author: User}
  User: {id: string}
  Optional: {id?: string}
  Child: {__extends: User}
  Nameless: {name: string}
  Any: {__string: string}
"""


def parse(integration: str, key: str = "acme") -> ParseResult:
    body = indent(dedent(integration), "    ")
    return parse_nango_yaml(f"integrations:\n  {key}:\n{body}\n{MODELS}")


def read(integration: str, key: str = "acme") -> Integration:
    result = parse(integration, key)
    assert result.config, result.errors
    [found] = result.config.integrations
    return found


def codes(integration: str) -> list[str]:
    return [problem.code for problem in parse(integration).errors]


def test_sync_has_defaults() -> None:
    integration = read("syncs:\n  it: {runs: every hour, endpoint: GET /x, output: User}")
    assert integration.syncs == (
        Sync(
            name="it",
            description="",
            runs="every hour",
            interval=Interval(seconds=3600),
            sync_type="full",
            auto_start=True,
            track_deletes=False,
            input=None,
            output=("User",),
            endpoints=(Endpoint("GET", "/x"),),
            scopes=(),
            version="",
            webhook_subscriptions=(),
            used_models=("User",),
        ),
    )


def test_sync_with_everything() -> None:
    [sync] = read(
        """
        syncs:
          it:
            description: "  Fetches issues. "
            runs: cron 0 6 * * *
            endpoint: [/issues, {method: GET, path: "/u/{User:id}", group: People}]
            output: [Issue, User]
            input: User
            sync_type: incremental
            auto_start: false
            scopes: repo, user
            webhook-subscriptions: [issues, "*"]
            version: 3
        """
    ).syncs
    assert sync.description == "Fetches issues."
    assert sync.interval == Interval(cron="0 6 * * *")
    assert sync.endpoints == (
        Endpoint("GET", "/issues"),
        Endpoint("GET", "/u/{User:id}", "People"),
    )
    assert (sync.sync_type, sync.auto_start, sync.input) == ("incremental", False, "User")
    assert sync.scopes == ("repo", " user")
    assert sync.webhook_subscriptions == ("issues", "*")
    assert sync.version == 3
    assert sync.used_models == ("Issue", "User")


@pytest.mark.parametrize(("guard", "share"), [("20%", 0.2), ("100 %", 1), ("off", None)])
def test_sync_says_how_long_and_how_much(guard: str, share: float | None) -> None:
    sync = read(f"""
        syncs:
          issues:
            {{runs: every hour, output: Issue, endpoint: GET /issues, retry_limit: 90m,
              run_timeout: 1 day, delete_guard: {guard}}}
    """).syncs[0]
    assert (sync.retry_limit, sync.run_timeout, sync.delete_guard) == (5400, 86_400, share)


def test_action_has_defaults() -> None:
    assert read("actions:\n  it: {endpoint: /x}").actions == (
        Action("it", "", None, (), Endpoint("POST", "/x"), (), "", ()),
    )


def test_action_with_everything() -> None:
    [action] = read(
        """
        actions:
          it:
            description: Closes an issue
            endpoint: {method: PUT, path: "/issues/{Issue:id}"}
            input: Child
            output: [User, Nameless]
            scopes: [repo]
            version: 1.2.3
        """
    ).actions
    assert action == Action(
        name="it",
        description="Closes an issue",
        input="Child",
        output=("User", "Nameless"),
        endpoint=Endpoint("PUT", "/issues/{Issue:id}"),
        scopes=("repo",),
        version="1.2.3",
        used_models=("Child", "Nameless", "User"),
    )


def test_legacy_endpoint_has_its_method_in_front() -> None:
    integration = read("actions:\n  a: {endpoint: DELETE /x}\n  b: {endpoint: REPORT /x}")
    assert [action.endpoint for action in integration.actions] == [
        Endpoint("DELETE", "/x"),
        Endpoint("REPORT", "/x"),
    ]


def test_unusual_method_is_worth_a_word() -> None:
    for endpoint in ("REPORT /x", "{method: PROPFIND, path: /x}"):
        result = parse(f"actions:\n  a: {{endpoint: {endpoint}}}")
        assert [problem.code for problem in result.warnings] == ["unusual_method"]


@pytest.mark.parametrize("output", ["Optional", "Child", "[User, Optional]"])
def test_records_need_an_id_of_any_kind(output: str) -> None:
    endpoints = "[GET /x, GET /y]" if output.startswith("[") else "GET /x"
    assert codes(f"syncs:\n  it: {{runs: 1h, endpoint: {endpoints}, output: {output}}}") == []


@pytest.mark.parametrize(
    "output", ["Nameless", "Any", "Nobody", "User[]", "User | Issue", "string"]
)
def test_sync_of_what_has_no_id_is_refused(output: str) -> None:
    [problem] = parse(f"syncs:\n  it: {{runs: 1h, endpoint: GET /x, output: '{output}'}}").errors
    assert problem.code == "model_missing_id"
    assert problem.path == ("acme", "syncs", "it", "[output]")


def test_mistyped_output_comes_with_what_was_meant() -> None:
    [problem] = parse("syncs:\n  it: {runs: 1h, endpoint: GET /x, output: Isue}").errors
    assert problem.hint == "did you mean `Issue`?"


def test_type_expression_becomes_an_anonymous_model() -> None:
    result = parse(
        """
        actions:
          do it: {endpoint: POST /x, input: "User[]", output: User | null}
        """,
        key="acme-dev",
    )
    assert result.config
    [action] = result.config.integrations[0].actions
    assert action.input == "Anonymous_acmedev_action_doit_input"
    assert action.output == ("Anonymous_acmedev_action_doit_output",)
    model = result.config.model(action.input)
    assert model
    assert model.is_anonymous
    assert model.fields[0].name == "input"
    assert model.fields[0].type == ArrayType(ReferenceType("User"))
    assert action.used_models == (
        "Anonymous_acmedev_action_doit_input",
        "Anonymous_acmedev_action_doit_output",
        "User",
    )
    assert [(problem.code, problem.path) for problem in result.warnings] == [
        ("model_is_literal", ("acme-dev", "actions", "do it", "[input]"))
    ]


def test_anonymous_models_of_different_scripts_do_not_replace_each_other() -> None:
    result = parse_nango_yaml(
        dedent(
            """
            integrations:
              a-b:
                actions: {it: {endpoint: /x, input: string | null}}
              ab:
                actions: {it: {endpoint: /x, input: number | null}}
            models: {}
            """
        )
    )
    assert result.config
    names = [integration.actions[0].input for integration in result.config.integrations]
    assert names == ["Anonymous_ab_action_it_input", "Anonymous_ab_action_it_input_2"]
    fields = [model.fields for model in result.config.models]
    assert fields[0] != fields[1]


def test_generic_type_is_refused_as_an_input_too() -> None:
    result = parse("actions:\n  it: {endpoint: /x, input: 'Array<User>'}")
    assert [problem.code for problem in result.errors] == ["type_syntax_error"]


def test_mistyped_word_in_a_union_is_told() -> None:
    result = parse("actions:\n  it: {endpoint: /x, input: Isue | User}")
    assert [(problem.code, problem.hint) for problem in result.warnings] == [
        ("unknown_word", "did you mean `Issue`?")
    ]


@pytest.mark.parametrize("value", ["", "''", "null"])
def test_empty_input_is_none(value: str) -> None:
    [action] = read(f"actions:\n  it: {{endpoint: /x, input: {value}}}").actions
    assert action.input is None


@pytest.mark.parametrize("sync", ["endpoint: GET /x, output: ''", "endpoint: [], output: []"])
def test_sync_without_output_is_left_out_and_says_so(sync: str) -> None:
    result = parse(f"syncs:\n  it: {{runs: 1h, {sync}}}")
    assert result.config
    assert result.config.integrations[0].syncs == ()
    assert [problem.code for problem in result.warnings] == ["sync_without_output"]


@pytest.mark.parametrize(
    ("endpoint", "output"),
    [
        *(("[]", "User"), ("[GET /x, GET /y]", "User"), ("GET /x", "[User, Issue]")),
        ("GET /x", "[]"),
    ],
)
def test_each_output_has_an_endpoint(endpoint: str, output: str) -> None:
    text = f"syncs:\n  it: {{runs: 1h, endpoint: {endpoint}, output: {output}}}"
    [problem] = parse(text).errors
    assert (problem.code, problem.path) == ("endpoints_mismatch", ("acme", "syncs", "it"))


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ("hourly", "sync_interval_invalid"),
        ("''", "sync_interval_invalid"),
        ("5s", "sync_interval_too_short"),
    ],
)
def test_runs_that_cannot_be_kept_are_refused(runs: str, reason: str) -> None:
    [problem] = parse(f"syncs:\n  it: {{runs: {runs}, endpoint: /x, output: User}}").errors
    assert (problem.code, problem.path) == ("invalid_runs", ("acme", "syncs", "it"))
    assert reason in problem.message
    assert problem.position
    assert problem.position.column > 15


def test_syncs_of_an_integration_do_not_share_a_model() -> None:
    result = parse(
        """
        syncs:
          one: {runs: 1h, endpoint: /1, output: User}
          two: {runs: 1h, endpoint: /2, output: User}
        actions:
          three: {endpoint: /3, output: User}
          four: {endpoint: /4, output: User}
          five: {endpoint: /5, output: [User, User]}
        """
    )
    assert [(problem.code, problem.path) for problem in result.errors] == [
        ("duplicate_model", ("acme", "syncs", "two", "[output]")),
        ("duplicate_model", ("acme", "actions", "five", "[output]")),
    ]


def test_endpoints_of_an_integration_differ_in_method_or_path() -> None:
    result = parse(
        """
        syncs:
          one: {runs: 1h, endpoint: GET /x, output: User}
          two: {runs: 1h, endpoint: {path: /x}, output: Issue}
        actions:
          three: {endpoint: GET /x}
          four: {endpoint: POST /x}
        """
    )
    assert [(problem.code, problem.path) for problem in result.errors] == [
        ("duplicate_endpoint", ("acme", "syncs", "two", "[endpoints]")),
        ("duplicate_endpoint", ("acme", "actions", "three", "[endpoint]")),
    ]


def test_integrations_share_endpoints_and_models() -> None:
    sync = "syncs: {it: {runs: 1h, endpoint: /x, output: User}}"
    text = f"integrations:\n  a:\n    {sync}\n  b:\n    {sync}\n{MODELS}"
    assert parse_nango_yaml(text).ok


def test_empty_braces_are_no_placeholder() -> None:
    assert codes("actions:\n  it: {endpoint: 'POST /{}'}") == []


def test_placeholder_of_a_sync_names_a_model() -> None:
    sync = "syncs:\n  it: {runs: 1h, endpoint: {path: '/{Nobody}'}, output: User}"
    [problem] = parse(sync).errors
    assert problem.path == ("acme", "syncs", "it", "[endpoints]")


@pytest.mark.parametrize("path", ["/{Nobody}", "/{User}/{id}"])
def test_placeholder_names_a_model(path: str) -> None:
    result = parse(f"actions:\n  it: {{endpoint: 'POST {path}'}}")
    assert [(problem.code, problem.path) for problem in result.errors] == [
        ("model_not_found", ("acme", "actions", "it", "[endpoint]"))
    ]


def test_on_events_keep_their_order() -> None:
    integration = read(
        """
        on-events:
          validate-connection: [d]
          post-connection-creation: [b, a]
        """
    )
    assert integration.on_events == OnEvents(("b", "a"), (), ("d",))
    assert integration.event_scripts("post-connection-creation") == ("b", "a")
    assert integration.event_scripts("pre-connection-deletion") == ()
    assert integration.event_scripts("validate-connection") == ("d",)


def test_post_connection_scripts_are_run_after_creation() -> None:
    integration = read("post-connection-scripts: [a, b]")
    assert integration.post_connection_scripts == ("a", "b")
    assert integration.event_scripts("post-connection-creation") == ("a", "b")


def test_both_ways_to_write_event_scripts_are_one_too_many() -> None:
    both = "post-connection-scripts: [a]\non-events: {pre-connection-deletion: [b]}"
    [problem] = parse(both).errors
    assert problem.code == "both_post_connection_scripts_and_on_events_present"
    assert problem.path == ("acme", "on-events")
    assert codes("post-connection-scripts: []\non-events: {pre-connection-deletion: [b]}") == []
    assert codes("post-connection-scripts: [a]\non-events: {}") == []
    assert codes("post-connection-scripts: [a]\non-events: {pre-connection-deletion: []}") == [
        "both_post_connection_scripts_and_on_events_present"
    ]


def test_tracking_deletes_of_an_incremental_sync_is_told_to_do_nothing() -> None:
    sync = "{runs: 1h, endpoint: /x, output: User, sync_type: %s, track_deletes: true}"
    assert parse("syncs:\n  it: " + sync % "full").warnings == ()
    result = parse("syncs:\n  it: " + sync % "incremental")
    assert [problem.code for problem in result.warnings] == ["track_deletes_ignored"]


def test_older_layout_is_read() -> None:
    integration = read(
        """
        fetch:
          runs: every 2h
          returns: [Issue, User]
          track_deletes: true
          auto_start: false
          description: Fetches
          version: 2
        close:
          type: action
          returns: User
        """
    )
    [sync] = integration.syncs
    assert (sync.sync_type, sync.output, sync.endpoints) == ("incremental", ("Issue", "User"), ())
    assert (sync.interval, sync.track_deletes, sync.auto_start) == (
        Interval(seconds=7200),
        True,
        False,
    )
    assert integration.actions == (Action("close", "", None, ("User",), None, (), "", ("User",)),)


def test_older_layout_says_what_it_passes_over() -> None:
    result = parse("fetch: {returns: User, endpoint: GET /x}\nempty:\nalso: {runs: 1h}")
    assert result.config
    assert result.config.version == "v1"
    assert [sync.name for sync in result.config.integrations[0].syncs] == ["fetch"]
    assert result.config.integrations[0].syncs[0].interval == Interval(seconds=86_400)
    assert [(problem.code, problem.path[-1]) for problem in result.warnings] == [
        ("key_ignored", "endpoint"),
        ("sync_without_output", "empty"),
        ("sync_without_output", "also"),
    ]


def test_older_layout_is_checked() -> None:
    assert set(codes("fetch: {returns: Nameless, runs: hourly}")) == {
        "invalid_runs",
        "model_missing_id",
    }
    assert codes("fetch: hello") == ["type"]


def test_older_layout_is_lenient() -> None:
    body = "returns: User, runs: , auto_start: , track_deletes: , version: beta"
    [sync] = read(f"fetch: {{{body}}}").syncs
    assert (sync.version, sync.auto_start, sync.track_deletes) == ("beta", True, False)
    assert sync.interval == Interval(seconds=86_400)
    assert read("fetch: {returns: User, runs: 1h, version: 1.5}").syncs[0].version == "1.5"
    assert read("fetch: {returns: User, runs: ''}").syncs[0].interval == Interval(seconds=86_400)


def test_older_layout_keeps_descriptions_of_syncs_as_they_are() -> None:
    description = "returns: User\n  description: |\n    Words.\n"
    [sync] = read(f"fetch:\n  runs: 1h\n  {description}").syncs
    [action] = read(f"close:\n  type: action\n  {description}").actions
    assert (sync.description, action.description) == ("Words.\n", "Words.")


def test_older_layout_takes_an_unknown_type_for_a_sync_and_says_so() -> None:
    result = parse("fetch: {returns: User, runs: 1h, type: Action}")
    assert result.config
    assert [sync.name for sync in result.config.integrations[0].syncs] == ["fetch"]
    assert [problem.code for problem in result.warnings] == ["unknown_word"]


def test_older_layout_names_models_of_actions_like_those_of_syncs() -> None:
    [action] = read("close: {type: action, returns: Gone}").actions
    assert action.output == ("Anonymous_acme_sync_close_output",)


def test_empty_scopes_are_one_empty_scope() -> None:
    [action] = read("actions:\n  it: {endpoint: /x, scopes: ''}").actions
    assert action.scopes == ("",)


@pytest.mark.parametrize("runs", ["every minute", "minute", "hour", "m", "every Hour", "half day"])
def test_unit_needs_a_number(runs: str) -> None:
    sync = f"syncs:\n  it: {{runs: {runs}, endpoint: GET /x, output: User}}"
    [problem] = parse(sync).errors
    assert problem.code == "invalid_runs"
    assert "write `every 1 " in problem.message


@pytest.mark.parametrize(
    "runs",
    [
        *("every hour", "every day", "every week", "every month", "every half day"),
        *("every half hour", "every quarter hour", "cron * * * * *", "every day jitter 5m"),
    ],
)
def test_some_periods_need_no_number(runs: str) -> None:
    assert codes(f"syncs:\n  it: {{runs: {runs}, endpoint: GET /x, output: User}}") == []


def primary(integration: str) -> list[str]:
    return [error.code for error in parse(integration).errors if not error.is_follow_up]


def test_errors_on_top_of_another_are_follow_ups() -> None:
    wrong = "{runs: bad, endpoint: GET /x, output: [Nameless, User]}"
    assert set(codes(f"syncs:\n  it: {wrong}")) == {
        "endpoints_mismatch",
        "invalid_runs",
        "model_missing_id",
    }
    assert primary(f"syncs:\n  it: {wrong}") == ["endpoints_mismatch"]
    assert primary("syncs:\n  it: {runs: bad, endpoint: GET /x, output: Nameless}") == [
        "invalid_runs"
    ]


def test_what_repeats_a_passed_over_sync_is_a_follow_up() -> None:
    bad = "{runs: bad, endpoint: GET /x, output: User}"
    good = "{runs: 1h, endpoint: GET /x, output: User}"
    syncs = f"syncs:\n  a: {bad}\n  b: {good}\n"
    assert sorted(codes(syncs)) == ["duplicate_endpoint", "duplicate_model", "invalid_runs"]
    assert primary(syncs) == ["invalid_runs"]
    assert sorted(primary(f"{syncs}  c: {good}")) == [
        *("duplicate_endpoint", "duplicate_model", "invalid_runs"),
    ]


@pytest.mark.parametrize(
    ("first", "version"),
    [
        ("syncs: {}", "v2"),
        ("actions: {}", "v2"),
        ("on-events: {}", "v2"),
        ("post-connection-scripts: [a]", "v2"),
        ("fetch: {returns: User}", "v1"),
    ],
)
def test_layout_shows_in_the_keys(first: str, version: str) -> None:
    result = parse(first)
    assert result.config
    assert result.config.version == version


def test_scripts_do_not_vanish_behind_an_empty_first_integration() -> None:
    sync = "syncs: {it: {runs: 1h, endpoint: /x, output: User}}"
    result = parse_nango_yaml(f"integrations:\n  empty: {{}}\n  acme:\n    {sync}\n{MODELS}")
    assert result.config
    assert [len(integration.syncs) for integration in result.config.integrations] == [0, 1]


def test_missing_models_are_one_problem() -> None:
    text = "integrations:\n  acme:\n    syncs: {it: {runs: 1h, endpoint: /x, output: User}}"
    assert [problem.path for problem in parse_nango_yaml(text).errors] == [("models",)]
