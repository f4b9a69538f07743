"""A parsed `nango.yaml` as the JSON document that tools of this world compare.

`perdure config check --json` prints it. Names and shapes are those of Nango's own parsed form, so
that both readings of a file can be laid side by side. What Perdure alone has to say stands apart:
`notes`, and a message, line and column with each problem.
"""

from __future__ import annotations

from typing import Literal, assert_never

from pydantic import JsonValue

from config.problems import FileCode, NoteCode, Problem, SchemaCode
from config.project import (
    Action,
    ArrayType,
    Endpoint,
    Field,
    Integration,
    LiteralType,
    Model,
    NangoConfig,
    NativeName,
    NativeType,
    ObjectType,
    ParseResult,
    ReferenceType,
    Sync,
    TypeExpr,
    UnionType,
)
from config.type_grammar import format_type

__all__ = ["canonical_document"]

_FILE_CODES = frozenset(FileCode)
_NOTE_CODES = frozenset(NoteCode)
_SCHEMA_CODES = frozenset(SchemaCode)
_CODES_OF_KEYS = (SchemaCode.UNKNOWN_KEY, SchemaCode.MISSING_KEY)

_NATIVE_NAMES: dict[NativeName, str] = {
    "date": "Date",
    "object": "Record<string, any>",
    "array": "any[]",
}


def canonical_document(result: ParseResult) -> dict[str, JsonValue]:
    """Return what became of a file as one JSON document.

    Its keys: `accepted`; `load`, `schema_ok` and `parse` say how far the reading came;
    `schema_errors` and `errors` are the errors of the first and the second layer, `warnings` what
    Nango warns of, `notes` what only Perdure says: of the file, and of errors that Nango does not
    come to. An accepted file has `version`, `integrations` and `models`, too.
    """
    file_errors = [problem for problem in result.errors if problem.code in _FILE_CODES]
    schema_errors = [problem for problem in result.errors if problem.code in _SCHEMA_CODES]
    errors = [
        problem
        for problem in result.errors
        if problem.code not in _FILE_CODES and problem.code not in _SCHEMA_CODES
    ]
    notes = [
        *(problem for problem in errors if problem.is_follow_up),
        *(problem for problem in result.warnings if _is_note(problem)),
    ]
    errors = [problem for problem in errors if not problem.is_follow_up]
    warnings = [problem for problem in result.warnings if not _is_note(problem)]
    warnings += result.false_alarms
    document: dict[str, JsonValue] = {
        "accepted": result.ok,
        "load": file_errors[0].code if file_errors else "ok",
        "schema_ok": not file_errors and not schema_errors,
        "schema_errors": [_schema_problem(problem) for problem in (*file_errors, *schema_errors)],
        "parse": "errors" if errors else "ok",
        "errors": [_problem(problem) for problem in errors],
        "warnings": [_problem(problem) for problem in warnings],
        "notes": [_problem(problem) for problem in notes],
    }
    return document | _config(result.config) if result.config else document


def _is_note(problem: Problem) -> bool:
    return problem.code in _NOTE_CODES or problem.is_follow_up


def _problem(problem: Problem) -> dict[str, JsonValue]:
    return {"code": problem.code, "path": " > ".join(map(str, problem.path)), **_details(problem)}


def _schema_problem(problem: Problem) -> dict[str, JsonValue]:
    path = problem.path
    shown: dict[str, JsonValue] = {"code": problem.code}
    if problem.code in _CODES_OF_KEYS:
        path = path[:-1]
        shown["property"] = problem.path[-1]
    shown["path"] = "".join(f"/{part}" for part in path)
    return shown | _details(problem)


def _details(problem: Problem) -> dict[str, JsonValue]:
    position = problem.position
    return {
        "message": problem.message,
        "hint": problem.hint,
        "line": position.line if position else None,
        "column": position.column if position else None,
    }


def _config(config: NangoConfig) -> dict[str, JsonValue]:
    models = sorted(config.models, key=lambda model: model.name)
    return {
        "version": config.version,
        "integrations": [_integration(integration) for integration in config.integrations],
        "models": [_model(model) for model in models],
    }


def _integration(integration: Integration) -> dict[str, JsonValue]:
    on_events = integration.on_events
    shown: dict[str, JsonValue] = {
        "providerConfigKey": integration.key,
        "syncs": [_sync(sync) for sync in integration.syncs],
        "actions": [_action(action) for action in integration.actions],
        "onEventScripts": {
            "post-connection-creation": list(on_events.post_connection_creation),
            "pre-connection-deletion": list(on_events.pre_connection_deletion),
            "validate-connection": list(on_events.validate_connection),
        },
    }
    if integration.post_connection_scripts:
        shown["postConnectionScripts"] = list(integration.post_connection_scripts)
    return shown


def _sync(sync: Sync) -> dict[str, JsonValue]:
    seconds = sync.interval.seconds
    return {
        **_script(sync, "sync"),
        "output": list(sync.output),
        "endpoints": [_endpoint(endpoint) for endpoint in sync.endpoints],
        "sync_type": sync.sync_type,
        "runs": sync.runs,
        "interval_ms": None if seconds is None else round(seconds * 1000),
        "auto_start": sync.auto_start,
        "track_deletes": sync.track_deletes,
        "webhookSubscriptions": list(sync.webhook_subscriptions),
    }


def _action(action: Action) -> dict[str, JsonValue]:
    return {
        **_script(action, "action"),
        "output": list(action.output) or None,
        "endpoint": _endpoint(action.endpoint) if action.endpoint else None,
    }


def _script(script: Sync | Action, kind: Literal["sync", "action"]) -> dict[str, JsonValue]:
    return {
        "name": script.name,
        "type": kind,
        "description": script.description,
        "input": script.input,
        "scopes": list(script.scopes),
        "version": script.version,
        "usedModels": list(script.used_models),
    }


def _endpoint(endpoint: Endpoint) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = {"method": endpoint.method, "path": endpoint.path}
    if endpoint.group:
        shown["group"] = endpoint.group
    return shown


def _model(model: Model) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = {"name": model.name, "fields": _fields(model.fields)}
    if model.is_anonymous:
        shown["isAnon"] = True
    return shown


def _fields(fields: tuple[Field, ...]) -> list[JsonValue]:
    return [_field(field) for field in fields]


def _field(field: Field) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = {"name": field.name, **_type(field.type)}
    if field.optional:
        shown["optional"] = True
    if field.dynamic:
        shown["dynamic"] = True
    return shown


def _type(type_: TypeExpr) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue]
    match type_:
        case NativeType(name=name):
            shown = {"value": _NATIVE_NAMES.get(name, name), "tsType": True}
        case LiteralType(value=str() as text):
            shown = {"value": text}
        case LiteralType(value=value):
            shown = {"value": value, "tsType": True}
        case ReferenceType(model=model):
            shown = {"value": model, "model": True}
        case ArrayType(items=UnionType(members=members)):
            shown = {"value": _members(members), "array": True}
        case ArrayType(items=ArrayType() as inner):
            shown = {"value": format_type(inner), "array": True}
        case ArrayType(items=items):
            shown = {**_type(items), "array": True}
        case UnionType(members=members):
            shown = {"value": _members(members), "union": True}
        case ObjectType(fields=fields):
            shown = {"value": _fields(fields)}
        case _:
            assert_never(type_)
    return shown


def _members(members: tuple[TypeExpr, ...]) -> list[JsonValue]:
    return [{"name": str(index), **_type(member)} for index, member in enumerate(members)]
