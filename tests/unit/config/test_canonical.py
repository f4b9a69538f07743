"""The JSON document of a file."""

from __future__ import annotations

import json
from textwrap import dedent

from config.canonical import canonical_document
from config.nango_yaml import parse_nango_yaml


def document(text: str) -> dict[str, object]:
    shown = canonical_document(parse_nango_yaml(dedent(text)))
    loaded: dict[str, object] = json.loads(json.dumps(shown))
    return loaded


def test_accepted_file_is_shown_whole() -> None:
    shown = document(
        """
        integrations:
          acme:
            syncs:
              things:
                runs: every half hour
                endpoint: {path: /things, group: All}
                output: M
            actions:
              do: {endpoint: POST /do, input: string}
            post-connection-scripts: [greet]
        models:
          M: {id: string, at: Date}
        """
    )
    assert shown["accepted"] is True
    assert shown["version"] == "v2"
    assert shown["integrations"] == [
        {
            "providerConfigKey": "acme",
            "syncs": [
                {
                    "name": "things",
                    "type": "sync",
                    "description": "",
                    "input": None,
                    "output": ["M"],
                    "endpoints": [{"method": "GET", "path": "/things", "group": "All"}],
                    "sync_type": "full",
                    "runs": "every half hour",
                    "interval_ms": 1_800_000,
                    "auto_start": True,
                    "track_deletes": False,
                    "scopes": [],
                    "version": "",
                    "webhookSubscriptions": [],
                    "usedModels": ["M"],
                }
            ],
            "actions": [
                {
                    "name": "do",
                    "type": "action",
                    "description": "",
                    "input": "Anonymous_acme_action_do_input",
                    "output": None,
                    "endpoint": {"method": "POST", "path": "/do"},
                    "scopes": [],
                    "version": "",
                    "usedModels": ["Anonymous_acme_action_do_input"],
                }
            ],
            "onEventScripts": {
                "post-connection-creation": [],
                "pre-connection-deletion": [],
                "validate-connection": [],
            },
            "postConnectionScripts": ["greet"],
        }
    ]
    assert shown["models"] == [
        {
            "name": "Anonymous_acme_action_do_input",
            "fields": [{"name": "input", "value": "string", "tsType": True}],
            "isAnon": True,
        },
        {
            "name": "M",
            "fields": [
                {"name": "id", "value": "string", "tsType": True},
                {"name": "at", "value": "Date", "tsType": True},
            ],
        },
    ]


def test_types_are_shown_with_their_flags() -> None:
    shown = document(
        """
        integrations: {}
        models:
          M:
            a?: object
            b: array
            c: 5
            d: null
            e: word
            f: M
            g: M[]
            h: string[][]
            i: M | null
            j: [string, M]
            k: {x: string}
            __string: string[]
        """
    )
    [model] = shown["models"] if isinstance(shown["models"], list) else []
    assert model["fields"] == [
        {"name": "a", "value": "Record<string, any>", "tsType": True, "optional": True},
        {"name": "b", "value": "any[]", "tsType": True},
        {"name": "c", "value": 5, "tsType": True},
        {"name": "d", "value": None, "tsType": True},
        {"name": "e", "value": "word"},
        {"name": "f", "value": "M", "model": True},
        {"name": "g", "value": "M", "model": True, "array": True},
        {"name": "h", "value": "string[]", "array": True},
        {
            "name": "i",
            "union": True,
            "value": [
                {"name": "0", "value": "M", "model": True},
                {"name": "1", "value": None, "tsType": True},
            ],
        },
        {
            "name": "j",
            "array": True,
            "value": [
                {"name": "0", "value": "string", "tsType": True},
                {"name": "1", "value": "M", "model": True},
            ],
        },
        {"name": "k", "value": [{"name": "x", "value": "string", "tsType": True}]},
        {"name": "__string", "value": "string", "tsType": True, "array": True, "dynamic": True},
    ]


def test_cron_has_no_interval() -> None:
    shown = document(
        """
        integrations:
          acme: {syncs: {it: {runs: cron 0 6 * * *, endpoint: /x, output: M}}}
        models: {M: {id: string}}
        """
    )
    assert '"interval_ms": null' in json.dumps(shown)


def test_refused_file_is_shown_by_layers() -> None:
    shown = document(
        """
        integrations:
          acme:
            syncs:
              it: {runs: 5s, endpoint: /x, output: M, cron: x, track_deletes: true}
              two: {endpoint: REPORT, output: ''}
        models: {M: {id: string}}
        """
    )
    assert "integrations" not in shown
    assert (shown["accepted"], shown["load"], shown["schema_ok"], shown["parse"]) == (
        False,
        "ok",
        False,
        "errors",
    )
    schema_errors = shown["schema_errors"] if isinstance(shown["schema_errors"], list) else []
    assert [(error["code"], error["path"], error.get("property")) for error in schema_errors] == [
        ("additionalProperties", "/integrations/acme/syncs/it", "cron"),
        ("required", "/integrations/acme/syncs/two", "runs"),
        ("type", "/integrations/acme/syncs/two/endpoint", None),
    ]
    [error] = shown["errors"] if isinstance(shown["errors"], list) else []
    assert (error["code"], error["path"]) == ("invalid_runs", "acme > syncs > it")
    assert (error["line"], error["column"]) == (5, 18)
    assert "30 seconds" in error["message"]


def test_what_only_perdure_says_is_a_note() -> None:
    shown = document(
        """
        integrations:
          acme: {syncs: {it: {runs: 1h, endpoint: /x, output: ''}}}
        models: {M: {a: Strng}}
        """
    )
    warnings = shown["warnings"] if isinstance(shown["warnings"], list) else []
    notes = shown["notes"] if isinstance(shown["notes"], list) else []
    assert [problem["code"] for problem in warnings] == ["model_not_found_fallback"]
    assert [problem["code"] for problem in notes] == ["sync_without_output"]
    assert shown["accepted"] is True


def codes(shown: dict[str, object], key: str) -> list[str]:
    problems = shown[key]
    assert isinstance(problems, list)
    return [problem["code"] for problem in problems]


def test_warnings_are_those_that_nango_gives() -> None:
    shown = document(
        """
        integrations:
          acme: {syncs: {it: {runs: 1h, endpoint: /x, output: M}}}
        models:
          M: {id: string, created_by: User, updated_by: User}
          User: {name: string}
        """
    )
    assert codes(shown, "warnings") == ["cyclic_model"]
    assert shown["accepted"] is True


def test_errors_that_nango_does_not_come_to_are_notes() -> None:
    shown = document(
        """
        integrations:
          acme: {syncs: {it: {runs: often, endpoint: /x, output: N, input: word}}}
        models: {M: {a: Array<string>}, N: {}}
        """
    )
    assert codes(shown, "errors") == ["type_syntax_error"]
    assert sorted(codes(shown, "notes")) == ["invalid_runs", "model_missing_id"]


def test_file_that_is_no_yaml_is_shown_so() -> None:
    shown = document("a: [")
    assert (shown["accepted"], shown["load"], shown["schema_ok"]) == (False, "yaml_error", False)
