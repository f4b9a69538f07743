"""Actions as tools of a language model: name, description, and parameters as JSON Schema.

The parameters of a tool are always an object. So an action without input has none, and an input
that is no object is the parameter `input`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from config.json_schema import model_definitions
from config.project import Action, Integration, NangoConfig

__all__ = ["ActionTool", "action_tools"]

_WRAPPED = "input"


@dataclass(frozen=True, slots=True)
class ActionTool:
    """An action as a tool.

    Attributes:
        name: Name of the action.
        description: What it does.
        parameters: JSON Schema of its parameters.
        takes: What becomes the action's input: `nothing`, the parameters as an `object`, or the
            one that is `wrapped`.
    """

    name: str
    description: str
    parameters: dict[str, JsonValue]
    takes: str

    def input_of(self, arguments: Mapping[str, Any] | None) -> Any:
        """Return the input of the action that is called with these arguments."""
        if self.takes == "nothing":
            return None
        return (arguments or {}).get(_WRAPPED) if self.takes == "wrapped" else dict(arguments or {})


def action_tools(config: NangoConfig, integration: Integration) -> list[ActionTool]:
    """Return the actions of an integration as tools, in the order of the file."""
    definitions = model_definitions(config)
    return [_tool(action, definitions) for action in integration.actions]


def _tool(action: Action, definitions: Mapping[str, JsonValue]) -> ActionTool:
    parameters: dict[str, JsonValue] = {"type": "object", "properties": {}}
    takes = "nothing"
    if action.input is not None:
        schema = _resolved(definitions[action.input], definitions)
        takes = "object" if schema.get("type") == "object" else "wrapped"
        if takes == "object":
            parameters = {"properties": {}, **schema}
        else:
            parameters["properties"] = {_WRAPPED: schema}
            parameters["required"] = [_WRAPPED]
        needed = _needed(parameters, definitions)
        if needed:
            parameters["definitions"] = needed
    return ActionTool(action.name, action.description, parameters, takes)


def _resolved(schema: JsonValue, definitions: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    name = _referred(schema)
    if name is not None:
        return _resolved(definitions[name], definitions)
    return dict(schema) if isinstance(schema, dict) else {}


def _needed(schema: JsonValue, definitions: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the definitions that a schema leads to, by name."""
    needed: dict[str, JsonValue] = {}
    open_ = [schema]
    while open_:
        node = open_.pop()
        name = _referred(node)
        if name is not None and name not in needed:
            needed[name] = definitions[name]
            open_.append(definitions[name])
        elif isinstance(node, dict):
            open_.extend(node.values())
        elif isinstance(node, list):
            open_.extend(node)
    return dict(sorted(needed.items()))


def _referred(node: JsonValue) -> str | None:
    reference = node.get("$ref") if isinstance(node, dict) else None
    return reference.rpartition("/")[2] if isinstance(reference, str) else None
