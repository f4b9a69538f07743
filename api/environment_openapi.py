"""The OpenAPI document of what an environment's `nango.yaml` declares, for client generators.

It is a valid OpenAPI 3.1 document whatever the file holds. Integrations that share a method and a
path share an operation: `Provider-Config-Key` has their keys as its values, and the schemas are
those of all of them. Models keep their names; ours give way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from api.routers.records import RecordQuery
from api.schemas.base import ErrorEnvelope
from api.schemas.records import RecordMetadata
from config.endpoint_input import input_fields, is_written_as_json, path_parameter_field
from config.endpoints import EndpointIndex, EndpointTarget, PathParameter
from config.json_schema import model_definitions
from config.project import NangoConfig
from config.schema import METHODS
from perdure.ids import BundleHash
from perdure.records.canonical import JsonObject

__all__ = ["environment_openapi"]

_SCHEMAS = "#/components/schemas/"
_SCHEME = "secretKey"
_RECORD_QUERY = {
    name: schema
    for name, schema in RecordQuery.model_json_schema()["properties"].items()
    if name != "model" and not schema.get("deprecated")
}
_METADATA = "_nango_metadata"


def environment_openapi(
    environment: str, bundle: BundleHash | None, config: NangoConfig | None
) -> JsonObject:
    """Return the document of an environment.

    Args:
        environment: Its name.
        bundle: Hash of what is deployed, None before the first deploy.
        config: What is deployed.
    """
    document: JsonObject = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Integrations of {environment}",
            "version": bundle[:12] if bundle else "0",
            "description": "What nango.yaml declares, as it is deployed.",
        },
        "servers": [{"url": "/"}],
        "security": [{_SCHEME: []}],
        "paths": {},
    }
    components: JsonObject = {
        "securitySchemes": {
            _SCHEME: {
                "type": "http",
                "scheme": "bearer",
                "description": "Secret key of the environment.",
            }
        }
    }
    if config is not None:
        writer = _Writer(config)
        document["paths"] = writer.paths()
        if writer.groups:
            document["tags"] = [{"name": group} for group in writer.groups]
        components |= {"parameters": writer.parameters, "schemas": writer.schemas}
    return document | {"components": components}


class _Writer:
    """Writes the parts of a document that depend on the project.

    Attributes:
        schemas: The models, then what is made of them.
        parameters: What many operations have in common.
        groups: Every group, in the order of the file.
    """

    def __init__(self, config: NangoConfig) -> None:
        self._config = config
        self._index = EndpointIndex(config)
        self.schemas: JsonObject = _moved(model_definitions(config), {})
        self._schema_names = set(self.schemas)
        self.groups = list(
            dict.fromkeys(group for target in self._index.targets if (group := _group(target)))
        )
        self._error = self._add_ours(ErrorEnvelope.model_json_schema(), "Error")
        self._metadata = self._add_ours(
            RecordMetadata.model_json_schema(mode="serialization"), "RecordMetadata"
        )
        self._pages: dict[str, JsonObject] = {}
        self._operation_ids: set[str] = set()
        self.parameters: JsonObject = {
            "ConnectionId": {
                "name": "Connection-Id",
                "in": "header",
                "required": True,
                "description": "Connection of whoever it is about.",
                "schema": {"type": "string", "minLength": 1},
            }
        }
        for name, schema in _RECORD_QUERY.items():
            self.parameters[f"records_{name}"] = _record_parameter(name, schema)

    def paths(self) -> JsonObject:
        """Return every path, with an operation for each method."""
        shapes: dict[str, dict[str, list[EndpointTarget]]] = {}
        for target in self._index.targets:
            if target.endpoint.method in METHODS:
                methods = shapes.setdefault(target.template.shape, {})
                shared = methods.setdefault(target.endpoint.method, [])
                # Of two paths of an integration that match the same, the first is served.
                if all(target.integration != other.integration for other in shared):
                    shared.append(target)
        return {
            f"/v1{next(iter(methods.values()))[0].template.url}": self._path_item(methods)
            for methods in shapes.values()
        }

    def _path_item(self, methods: dict[str, list[EndpointTarget]]) -> JsonObject:
        # Placeholders are called one name in a path, whatever each integration calls them.
        names = next(iter(methods.values()))[0].template.parameters
        return {
            method.lower(): self._operation(method, targets, names)
            for method, targets in methods.items()
        }

    def _operation(
        self, method: str, targets: Sequence[EndpointTarget], names: Sequence[PathParameter]
    ) -> JsonObject:
        template = targets[0].template
        operation: JsonObject = {
            "operationId": self._operation_id(method, template.url),
            "summary": " / ".join(dict.fromkeys(map(_summary, targets))),
        }
        if description := _description(targets):
            operation["description"] = description
        if groups := list(dict.fromkeys(group for item in targets if (group := _group(item)))):
            operation["tags"] = groups
        operation["parameters"] = [
            *(self._path_parameter(targets, at, name.name) for at, name in enumerate(names)),
            {"$ref": "#/components/parameters/ConnectionId"},
            _integrations(targets),
            *self._query(method, targets),
        ]
        if method != "GET" and (body := self._body(targets)):
            operation["requestBody"] = body
        operation["responses"] = {
            "200": {
                "description": _answer(targets),
                "content": _json(_any_of(map(self._output, targets))),
            },
            "default": {"description": "It failed.", "content": _json(self._error)},
        }
        return operation

    def _operation_id(self, method: str, url: str) -> str:
        name = "_".join([method.lower(), *re.findall(r"[A-Za-z0-9]+", url)])
        return _free(name, self._operation_ids)

    # What goes in.

    def _path_parameter(
        self, targets: Sequence[EndpointTarget], position: int, name: str
    ) -> JsonObject:
        schemas = [
            self._path_schema(target, target.template.parameters[position]) for target in targets
        ]
        return {"name": name, "in": "path", "required": True, "schema": _any_of(schemas)}

    def _path_schema(self, target: EndpointTarget, parameter: PathParameter) -> JsonObject:
        model = None if target.model else target.script.input
        found = path_parameter_field(self._config, model, parameter)
        if target.model or found is None or is_written_as_json(found[1].type):
            return {"type": "string"}
        return self._property(found[0], found[1].name)

    def _query(self, method: str, targets: Sequence[EndpointTarget]) -> Iterator[JsonObject]:
        shown: set[str] = set()
        if any(target.model for target in targets):
            for name in _RECORD_QUERY:
                shown.add(name)
                yield {"$ref": f"#/components/parameters/records_{name}"}
        if method != "GET":
            return
        actions = [target for target in targets if not target.model]
        inputs = [input_fields(self._config, target.script.input) for target in actions]
        for name in dict.fromkeys(name for fields in inputs for name in fields):
            if name not in shown and (parameter := self._query_parameter(targets, name)):
                yield parameter

    def _query_parameter(self, targets: Sequence[EndpointTarget], name: str) -> JsonObject | None:
        schemas = []
        is_required = True
        is_json = False
        for target in targets:
            field = input_fields(self._config, target.script.input).get(name)
            if target.model or field is None or name in _path_names(target):
                is_required = False
                continue
            schemas.append(self._property(target.script.input, name))
            is_required &= name in self._required(target.script.input)
            is_json |= is_written_as_json(field.type)
        if not schemas:
            return None
        parameter: JsonObject = {"name": name, "in": "query", "required": is_required}
        schema = _any_of(schemas)
        return parameter | ({"content": _json(schema)} if is_json else {"schema": schema})

    def _body(self, targets: Sequence[EndpointTarget]) -> JsonObject | None:
        inputs = [target for target in targets if not target.model and target.script.input]
        if not inputs:
            return None
        is_required = len(inputs) == len(targets) and all(map(self._needs_body, inputs))
        return {
            "required": is_required,
            "content": _json(_any_of(map(self._body_schema, inputs))),
        }

    def _needs_body(self, target: EndpointTarget) -> bool:
        return bool(self._required(target.script.input) - _path_names(target))

    def _body_schema(self, target: EndpointTarget) -> JsonObject:
        """Return the schema of a body: that of the input, which need not repeat the path."""
        name = target.script.input or ""
        schema = self.schemas[name]
        in_path = _path_names(target) & self._required(name)
        if not in_path or schema.get("type") != "object":
            return {"$ref": f"{_SCHEMAS}{name}"}
        required = [key for key in schema["required"] if key not in in_path]
        rest = {key: value for key, value in schema.items() if key != "required"}
        return rest | ({"required": required} if required else {})

    def _required(self, model: str | None) -> set[str]:
        found = self._config.model(model) if model else None
        if found is None:
            return set()
        if found.is_anonymous:
            return {field.name for field in found.fields}
        return set(self.schemas[found.name].get("required", ()))

    def _property(self, model: str | None, name: str) -> JsonObject:
        found = self._config.model(model) if model else None
        if found is None:
            return {}
        if found.is_anonymous:
            return {"$ref": f"{_SCHEMAS}{found.name}"}
        schema: JsonObject = self.schemas[found.name]["properties"][name]
        return schema

    # What comes out.

    def _output(self, target: EndpointTarget) -> JsonObject:
        if target.model:
            return self._page(target.model)
        # Several outputs of an action: the first is the one it is held to.
        output = target.script.output
        return {"$ref": f"{_SCHEMAS}{output[0]}"} if output else {}

    def _page(self, model: str) -> JsonObject:
        if model not in self._pages:
            payload = self.schemas[model]
            properties = payload.get("properties", {}) | {
                # Whatever a script saves, ids are strings from then on.
                "id": {"type": "string"},
                _METADATA: self._metadata,
            }
            required = list(dict.fromkeys(["id", *payload.get("required", ()), _METADATA]))
            record = self._add(
                f"{model}Record", payload | {"properties": properties, "required": required}
            )
            self._pages[model] = self._add(
                f"{model}RecordPage",
                {
                    "type": "object",
                    "properties": {
                        "records": {"type": "array", "items": record},
                        "next_cursor": {
                            "type": ["string", "null"],
                            "description": "The parameter `cursor` of the next page, if any.",
                        },
                    },
                    "required": ["records", "next_cursor"],
                },
            )
        return self._pages[model]

    def _add(self, name: str, schema: JsonObject) -> JsonObject:
        name = _free(name, self._schema_names)
        self.schemas[name] = schema
        return {"$ref": f"{_SCHEMAS}{name}"}

    def _add_ours(self, schema: JsonObject, name: str) -> JsonObject:
        """Add a schema that pydantic wrote, and what it refers to."""
        inner = schema.get("$defs", {})
        names = {key: _free(key, self._schema_names) for key in inner}
        for key, definition in inner.items():
            self.schemas[names[key]] = _untitled(_moved(definition, names))
        return self._add(name, _untitled(_moved(schema, names)))


def _free(name: str, taken: set[str]) -> str:
    """Return a name that is not taken yet, and take it."""
    unique, count = name, 1
    while unique in taken:
        count += 1
        unique = f"{name}_{count}"
    taken.add(unique)
    return unique


def _moved(schema: Any, names: dict[str, str]) -> Any:
    """Return a schema whose references lead to the components of the document.

    Args:
        schema: The schema, or a part of it.
        names: What definitions are called there, where that is another name.
    """
    if isinstance(schema, list):
        return [_moved(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value, names) for key, value in schema.items()}
    if isinstance(reference := schema.get("$ref"), str):
        name = reference.rpartition("/")[2]
        moved["$ref"] = _SCHEMAS + names.get(name, name)
    return moved


def _untitled(schema: JsonObject) -> JsonObject:
    # A title would be taken for the name, which may be another one here.
    return {key: value for key, value in schema.items() if key not in ("$defs", "title")}


def _any_of(schemas: Iterable[JsonObject]) -> JsonObject:
    different: list[JsonObject] = []
    for schema in schemas:
        if schema not in different:
            different.append(schema)
    if {} in different:
        return {}
    return different[0] if len(different) == 1 else {"anyOf": different}


def _json(schema: JsonObject) -> JsonObject:
    return {"application/json": {"schema": schema}}


def _record_parameter(name: str, schema: JsonObject) -> JsonObject:
    shown = {key: value for key, value in schema.items() if key not in ("title", "description")}
    kinds = [kind for kind in shown.pop("anyOf", []) if kind != {"type": "null"}]
    shown |= kinds[0] if kinds else {}
    if shown.get("default", ...) is None:
        del shown["default"]
    parameter: JsonObject = {"name": name, "in": "query", "schema": shown}
    if description := schema.get("description"):
        parameter["description"] = description
    return parameter


def _integrations(targets: Sequence[EndpointTarget]) -> JsonObject:
    return {
        "name": "Provider-Config-Key",
        "in": "header",
        "required": True,
        "description": "Integration of the connection.",
        "schema": {"type": "string", "enum": [target.integration for target in targets]},
    }


def _path_names(target: EndpointTarget) -> set[str]:
    return {parameter.name for parameter in target.template.parameters}


def _group(target: EndpointTarget) -> str | None:
    return target.endpoint.group


def _summary(target: EndpointTarget) -> str:
    return f"Records of {target.model}" if target.model else f"Trigger {target.script.name}"


def _answer(targets: Sequence[EndpointTarget]) -> str:
    kinds = {
        "A page of the records." if target.model else "What the action returned."
        for target in targets
    }
    return " ".join(sorted(kinds))


def _description(targets: Sequence[EndpointTarget]) -> str:
    described = [target for target in targets if target.script.description]
    if len({target.script.description for target in targets}) == 1:
        return targets[0].script.description
    return "\n".join(f"- `{item.integration}`: {item.script.description}" for item in described)
