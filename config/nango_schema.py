"""The JSON Schema of `nango.yaml` itself, by which editors complete a file and check it.

It is made from the tables that reading goes by. Whatever is read without an error is valid by it,
and what the first layer refuses is not. What only the whole file can tell is left to reading:
whether a model exists, whether outputs and endpoints match.

Draft 7, which is the newest that the YAML language server understands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache

from pydantic import JsonValue

from config.intervals import DURATION_PATTERN, RUNS_PATTERN
from config.models import DYNAMIC, EXTENDS, MODEL_NAME
from config.project import DELETE_GUARD
from config.schema import (
    ACTION_FORM,
    ACTION_KEYS,
    ENDPOINT_KEYS,
    ENDPOINT_PATH,
    EVENTS,
    FILE_NAME,
    GROUP,
    REQUIRED_KEYS,
    SCRIPT_NAME,
    SECTIONS,
    SHARE,
    SYNC_FORM,
    SYNC_KEYS,
    V1_KEYS,
    V2_KEYS,
    VERSION,
)
from config.type_grammar import TYPE_PATTERN

__all__ = ["SCHEMA_PATH", "nango_schema", "nango_schema_json"]

_Schema = dict[str, JsonValue]

SCHEMA_PATH = ".nango/nango.schema.json"
"""Where `perdure init` and `perdure generate` write the schema in a project folder."""

_SECTION_TEXTS = {
    "integrations": "Your integrations by their keys.",
    "models": "What syncs save and actions take and return, by name. `{}` when you need none.",
}

_INTEGRATION_TEXTS = {
    "syncs": "Syncs: scripts that read from the provider and save records, on a schedule.",
    "actions": "Actions: scripts that do something at the provider when they are called.",
    "on-events": "Scripts that run when a connection is made, deleted or checked.",
    "post-connection-scripts": "The older way to write `on-events: post-connection-creation`.",
}

_EVENT_TEXTS = {
    "post-connection-creation": "Run after a connection was made, in this order.",
    "pre-connection-deletion": "Run before a connection is deleted, in this order.",
    "validate-connection": "Decide whether a new connection is accepted: one that raises refuses.",
}

_ENDPOINT_TEXTS = {
    "method": "HTTP method.",
    "path": "Path below `/v1`. A placeholder names a model: `/tickets/{Ticket:id}`.",
    "group": "Heading in the description of the API.",
}

_SCRIPT_TEXTS = {
    "description": "What it does, for people.",
    "input": "Model, or type, of what it is given.",
    "scopes": "OAuth scopes it needs, for people: a list, or a text with commas.",
    "version": "Version its author gives it; left out, deploys are counted.",
    "retry_limit": "How long a step goes on trying while its failures are transient.",
    "run_timeout": "How long a run may take; without it there is no limit.",
}

_SYNC_TEXTS = {
    **_SCRIPT_TEXTS,
    "runs": (
        "How often it runs: `every 5 minutes`, `every hour`, `every half day`, or a calendar as in "
        "`cron 0 6 * * MON-FRI Europe/Berlin`. At least 30 seconds. `jitter 5m` at the end delays "
        "each run by up to that much, at random."
    ),
    "output": "Model of the records it saves, or several. Each has a field `id`.",
    "input": "Model of the metadata it expects of a connection.",
    "endpoint": "Where its records are served, below `/v1`; one for each output, in order.",
    "sync_type": "`full` reads everything in each run, `incremental` what is new since the last.",
    "auto_start": "Whether it begins by itself when a connection is made.",
    "track_deletes": "Whether records that a full run did not see are deleted.",
    "webhook-subscriptions": "Kinds of the provider's webhooks it handles; `*` is all of them.",
    "delete_guard": (
        "Share of a model's records above which a full run does not delete what it did not see, "
        "but asks first. `off` never asks."
    ),
}

_ACTION_TEXTS = {
    **_SCRIPT_TEXTS,
    "output": "Model, or type, of what it returns, or several.",
    "endpoint": "Where it is called, below `/v1`.",
}

_V1_TEXTS = {
    "type": "`sync` or `action`.",
    "returns": "Model of the records it saves, or what it returns.",
    "description": "What it does, for people.",
    "runs": _SYNC_TEXTS["runs"],
    "track_deletes": _SYNC_TEXTS["track_deletes"],
    "auto_start": _SYNC_TEXTS["auto_start"],
    "version": _SCRIPT_TEXTS["version"],
}

_DEFAULTS: dict[str, JsonValue] = {
    "auto_start": True,
    "track_deletes": False,
    "sync_type": "full",
    "delete_guard": f"{DELETE_GUARD:.0%}",
}

_EXAMPLES: dict[str, list[JsonValue]] = {
    "runs": ["every hour", "every 5 minutes", "every day", "cron 0 6 * * MON-FRI Europe/Berlin"],
    "retry_limit": ["15m", "6h"],
    "run_timeout": ["30m", "2h"],
    "delete_guard": ["20%", "off"],
    "webhook-subscriptions": ["*"],
    "version": [1, "1.0.0"],
}

_RUNS: _Schema = {"$ref": "#/definitions/runs"}

# What a value must be, by the name of the rule that reading applies to it.
_RULES: dict[str, _Schema] = {
    "text": {"type": "string"},
    "text_or_nothing": {"type": ["string", "null"]},
    "texts": {"type": ["string", "array"], "items": {"type": "string"}},
    "flag": {"type": "boolean"},
    "flag_or_nothing": {"type": ["boolean", "null"]},
    "duration": {"$ref": "#/definitions/duration"},
    "share": {"type": "string", "pattern": f"^(?:{SHARE.pattern.replace('?P<percent>', '?:')})$"},
    "sync_type": {"enum": ["full", "incremental"]},
    "version": {
        "anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^{VERSION.pattern}$"}]
    },
    "v1_version": {"type": ["number", "string", "null"]},
    "sync_endpoints": {
        "anyOf": [
            {"$ref": "#/definitions/syncEndpoint"},
            {"type": "array", "items": {"$ref": "#/definitions/syncEndpoint"}},
        ]
    },
    "action_endpoint": {"$ref": "#/definitions/actionEndpoint"},
}


def nango_schema() -> _Schema:
    """Return the schema."""
    is_v2: _Schema = {
        "type": "object",
        "anyOf": [{"required": [key]} for key in V2_KEYS],
    }
    some_integration_is_v2: _Schema = {
        "required": ["integrations"],
        "properties": {
            "integrations": {"type": "object", "not": {"additionalProperties": {"not": is_v2}}}
        },
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "nango.yaml",
        "description": "The integrations of a project: their syncs, actions and models.",
        "type": "object",
        "required": [*SECTIONS],
        "properties": {
            "integrations": {
                "description": _SECTION_TEXTS["integrations"],
                "type": "object",
                "propertyNames": {"pattern": f"^{FILE_NAME.pattern}$"},
            },
            "models": {
                "description": _SECTION_TEXTS["models"],
                "type": "object",
                "propertyNames": {"pattern": f"^{MODEL_NAME.pattern}$"},
                "additionalProperties": {"$ref": "#/definitions/fields"},
            },
        },
        "if": some_integration_is_v2,
        "then": {
            "properties": _layout("integration", "models"),
            "additionalProperties": False,
        },
        "else": {"properties": _layout("v1Integration")},
        "definitions": _definitions(),
    }


@cache
def nango_schema_json() -> str:
    """Return the text of the schema file."""
    return f"{json.dumps(nango_schema(), indent=2, ensure_ascii=False)}\n"


def _layout(definition: str, *others: str) -> _Schema:
    integrations: _Schema = {"additionalProperties": {"$ref": f"#/definitions/{definition}"}}
    return {"integrations": integrations, **dict.fromkeys(others, True)}


def _definitions() -> _Schema:
    sections: dict[str, _Schema] = {
        "syncs": _scripts("sync"),
        "actions": _scripts("action"),
        "on-events": _object(
            {
                event: _described(_names(SCRIPT_NAME.pattern), _EVENT_TEXTS[event])
                for event in EVENTS
            }
        ),
        "post-connection-scripts": _names(FILE_NAME.pattern),
    }
    described: _Schema = {
        key: _described(sections[key], _INTEGRATION_TEXTS[key]) for key in V2_KEYS
    }
    type_: _Schema = {"$ref": "#/definitions/type"}
    return {
        "integration": _object(described),
        "v1Integration": {
            "description": "One integration.",
            "type": "object",
            "propertyNames": {"pattern": f"^{FILE_NAME.pattern}$"},
            # An integration without these is of the older layout, or not finished yet.
            "properties": described,
            "additionalProperties": {"$ref": "#/definitions/v1Script"},
        },
        "sync": _object(_keys(SYNC_KEYS, _SYNC_TEXTS), REQUIRED_KEYS["syncs"]),
        "action": _object(_keys(ACTION_KEYS, _ACTION_TEXTS), REQUIRED_KEYS["actions"]),
        "v1Script": {"type": ["object", "null"], "properties": _keys(V1_KEYS, _V1_TEXTS)},
        "syncEndpoint": _endpoint(SYNC_FORM.pattern.pattern, SYNC_FORM.methods, SYNC_FORM.example),
        "actionEndpoint": _endpoint(
            ACTION_FORM.pattern.pattern, ACTION_FORM.methods, ACTION_FORM.example
        ),
        "runs": {
            "type": "string",
            "pattern": RUNS_PATTERN,
            "patternErrorMessage": "Write for example `every 5 minutes` or `every hour`.",
        },
        "duration": {
            "type": "string",
            "pattern": DURATION_PATTERN,
            "patternErrorMessage": "Write a duration such as `90m` or `24h`.",
        },
        "fields": {
            "description": "Fields by their names; `?` at the end of one says it may be missing.",
            "type": "object",
            "properties": {
                "id": _described(type_, "Tells records apart: models that syncs save have one."),
                EXTENDS: {
                    "description": "Models whose fields this one has too: `A`, or `A, B`.",
                    "type": "string",
                    "minLength": 1,
                },
                DYNAMIC: _described(type_, "Type of all fields that are not named."),
            },
            "additionalProperties": type_,
        },
        "type": {
            "description": (
                "A type (`string`, `number`, `boolean`, `date`, `any` and others), a model, a list "
                "(`Issue[]`), a choice (`open | closed | null`), or fields of its own. A word that "
                "is neither a type nor a model stands for itself."
            ),
            "anyOf": [
                {
                    "type": "string",
                    "pattern": TYPE_PATTERN,
                    "patternErrorMessage": "This is not a type; generic types are not read.",
                    "examples": [
                        *("string", "number", "boolean", "date", "any", "object"),
                        *("string[]", "string | null"),
                    ],
                },
                {"type": ["number", "boolean", "null"]},
                {"type": "array", "items": type_},
                {"$ref": "#/definitions/fields"},
            ],
        },
    }


def _keys(rules: Mapping[str, Callable[..., None]], texts: Mapping[str, str]) -> _Schema:
    return {key: _key(key, rule.__name__, texts[key]) for key, rule in rules.items()}


def _key(key: str, rule: str, text: str) -> _Schema:
    # In the older layout it may be anything where it is not needed.
    is_interval = (key, rule) == ("runs", "text")
    schema = _described(_RUNS if is_interval else _RULES[rule], text)
    if key in _DEFAULTS:
        schema["default"] = _DEFAULTS[key]
    if key in _EXAMPLES:
        schema["examples"] = _EXAMPLES[key]
    return schema


def _described(schema: _Schema, text: str) -> _Schema:
    # What stands beside a reference is not read in this draft.
    inner: _Schema = {"allOf": [schema]} if "$ref" in schema else schema
    return {"description": text, **inner}


def _object(properties: _Schema, required: Iterable[str] = ()) -> _Schema:
    needs: _Schema = {"required": [*required]} if required else {}
    return {"type": "object", **needs, "properties": properties, "additionalProperties": False}


def _scripts(definition: str) -> _Schema:
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{FILE_NAME.pattern}$"},
        "additionalProperties": {"$ref": f"#/definitions/{definition}"},
    }


def _names(pattern: str) -> _Schema:
    return {"type": "array", "items": {"type": "string", "pattern": f"^{pattern}$"}}


def _endpoint(pattern: str, methods: Iterable[str], example: str) -> _Schema:
    values: dict[str, _Schema] = {
        "method": {"enum": [*methods]},
        "path": {"type": "string", "pattern": f"^{ENDPOINT_PATH.pattern}$"},
        "group": {"type": "string", "pattern": f"^{GROUP.pattern}$"},
    }
    mapping = _object(
        {key: _described(values[key], _ENDPOINT_TEXTS[key]) for key in ENDPOINT_KEYS}, ("path",)
    )
    text: _Schema = {
        "type": "string",
        "pattern": f"^{pattern}$",
        "patternErrorMessage": f"Write an endpoint of the form `{example}`.",
        "examples": [example],
    }
    return {"anyOf": [text, mapping]}
