"""Scripts to start from, for what `nango.yaml` names and nobody has written yet.

A scaffold is a small script that compiles and type-checks: it imports the models it deals with,
and what only its author can know is marked by a comment.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping

from config.models_py import generate_models_py
from config.project import Action, Event, Integration, NangoConfig, Sync
from config.python_types import quoted
from config.scripts import named_scripts
from perdure.scripts.bundle import ScriptPlaces

__all__ = ["generate_scaffolds"]

_LINE_LENGTH = 88

# Names the scaffolds use themselves; a class of that name is imported under another one.
_TAKEN = frozenset(
    {
        *("NangoAction", "NangoSync", "answer", "data", "fetch_data", "input", "nango", "output"),
        *("on_webhook_payload_received", "params", "payload", "raw", "run_action"),
        "wanted",
    }
)


def generate_scaffolds(config: NangoConfig, files: Collection[str]) -> dict[str, str]:
    """Return the text of each script that is missing, by its path.

    Args:
        config: What the project should have.
        files: Paths of the files it has; a dash in them is as good as an underscore.
    """
    places = ScriptPlaces(files)
    authors = _Author(config)
    return {
        path: text
        for integration in config.integrations
        for path, text in authors.missing(integration, places)
    }


class _Author:
    def __init__(self, config: NangoConfig) -> None:
        classes = _class_names(generate_models_py(config))
        self._classes = {
            model: f"{name}_" if name in _TAKEN else name for model, name in classes.items()
        }
        self._imports = {
            self._classes[model]: f"{name} as {name}_" if name in _TAKEN else name
            for model, name in classes.items()
        }
        self._anonymous = {model.name for model in config.models if model.is_anonymous}

    def missing(self, integration: Integration, places: ScriptPlaces) -> Iterator[tuple[str, str]]:
        key = integration.key
        events: dict[str, list[Event]] = {}
        for named in named_scripts(integration):
            if named.path(places) is not None:
                continue
            match named.declared:
                case Sync():
                    yield named.new_path, self._sync(key, named.declared)
                case Action():
                    yield named.new_path, self._action(key, named.declared)
                case None if named.event is not None:
                    events.setdefault(named.new_path, []).append(named.event)
        for path, on in events.items():
            yield path, _on_event(key, dict.fromkeys(on))

    def _sync(self, integration: str, sync: Sync) -> str:
        body = ["async def fetch_data(nango: NangoSync) -> None:"]
        body += ["    # Fill in the endpoints, and what of the API's answers becomes which field."]
        maps = _map_names(self._classes[model] for model in sync.output)
        for model, function in zip(sync.output, maps, strict=True):
            body += _save(model, function)
        for model, function in zip(sync.output, maps, strict=True):
            name = self._classes[model]
            body += ["", "", *_signature(function, "raw: dict[str, Any]", name, is_async=False)]
            body += [f"    return {name}.model_validate(raw)"]
        if sync.webhook_subscriptions:
            body += [
                "",
                "",
                *_signature(
                    "on_webhook_payload_received",
                    "nango: NangoSync, payload: dict[str, Any]",
                    "None",
                ),
                "    # Fill in what a webhook changes.",
                '    await nango.log("webhook", payload)',
            ]
        sentence = _one_line(sync.description) or f"Sync {sync.name} of {integration}."
        return _script(sentence, "NangoSync", self._imported(sync.output), body)

    def _action(self, integration: str, action: Action) -> str:
        body = _signature("run_action", self._parameters(action), self._returns(action))
        comment = "    # Fill in the endpoint, what it is sent, and what of its answer is returned."
        method, sent = "post", ", data=input"
        if action.input is None:
            sent = ""
            body += [comment]
        elif action.input in self._anonymous:
            body += [comment]
        else:
            reads = action.endpoint is not None and action.endpoint.method == "GET"
            method, option = ("get", "params") if reads else ("post", "data")
            sent = f", {option}={option}"
            body += [
                f"    wanted = {self._classes[action.input]}.model_validate(input)",
                comment,
                f'    {option} = wanted.model_dump(mode="json", by_alias=True, exclude_unset=True)',
            ]
        call = f'await nango.{method}("/fill-in"{sent})'
        body += [f"    answer = {call}" if action.output else f"    {call}"]
        if action.output:
            body += self._output(action.output[0])
        sentence = _one_line(action.description) or f"Action {action.name} of {integration}."
        models = [name for name in (action.input, *action.output) if name]
        return _script(sentence, "NangoAction", self._imported(models), body)

    def _output(self, model: str) -> list[str]:
        name = self._classes[model]
        if model in self._anonymous:
            return [f"    output: {name} = answer.data", "    return output"]
        return [f"    return {name}.model_validate(answer.data)"]

    def _imported(self, models: Iterable[str]) -> list[str]:
        return [self._imports[self._classes[model]] for model in models]

    def _parameters(self, action: Action) -> str:
        if action.input is None:
            return "nango: NangoAction"
        is_object = action.input not in self._anonymous
        type_ = "dict[str, Any]" if is_object else self._classes[action.input]
        return f"nango: NangoAction, input: {type_}"

    def _returns(self, action: Action) -> str:
        return " | ".join(self._classes[model] for model in action.output) or "None"


def _class_names(models_py: str) -> Mapping[str, str]:
    """Return the name of each model's class, as `MODELS` in the generated module has them."""
    *_, index = ast.parse(models_py).body
    if not isinstance(index, ast.AnnAssign) or not isinstance(index.value, ast.Dict):
        return {}
    pairs = zip(index.value.keys, index.value.values, strict=True)
    return {ast.literal_eval(key): ast.unparse(value) for key, value in pairs if key}


def _on_event(integration: str, events: Iterable[str]) -> str:
    events = list(events)
    comment = "    # Fill in what is to be done."
    if "validate-connection" in events:
        comment = "    # Fill in what makes a connection unusable: raise ActionError then."
    body = [
        "async def on_event(nango: NangoAction) -> None:",
        comment,
        '    await nango.log("connection", nango.connection_id)',
    ]
    return _script(f"Runs on {' and '.join(events)} of {integration}.", "NangoAction", (), body)


def _map_names(classes: Iterable[str]) -> list[str]:
    """Return a name for each function that makes an instance of a class, all of them different."""
    names: list[str] = []
    for name in classes:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name.rstrip("_"))
        function = f"to_{words.lower()}"
        names.append(f"{function}_{len(names)}" if function in names else function)
    return names


def _save(model: str, function: str) -> list[str]:
    start = '    await nango.paginate("/fill-in").save('
    arguments = (quoted(model), f"map={function}")
    line = f"{start}{', '.join(arguments)})"
    if len(line) <= _LINE_LENGTH:
        return [line]
    line = f"        {', '.join(arguments)}"
    if len(line) <= _LINE_LENGTH:
        return [start, line, "    )"]
    return [start, *(f"        {argument}," for argument in arguments), "    )"]


def _signature(name: str, parameters: str, returns: str, *, is_async: bool = True) -> list[str]:
    start = f"{'async ' if is_async else ''}def {name}("
    line = f"{start}{parameters}) -> {returns}:"
    if len(line) <= _LINE_LENGTH:
        return [line]
    # A parameter that stands alone has a comma, as formatters like it.
    comma = "," if parameters.count(": ") == 1 else ""
    return [start, f"    {parameters}{comma}", f") -> {returns}:"]


def _script(sentence: str, helper: str, models: Iterable[str], body: list[str]) -> str:
    text = "\n".join(body)
    lines = [_docstring(sentence), ""]
    if "[str, Any]" in text:
        lines += ["from typing import Any", ""]
    lines += [f"from perdure import {helper}", ""]
    imports = _imports(sorted(set(models), key=_like_isort))
    lines += [*imports, ""] if imports else []
    return "\n".join([*lines, "", text, ""])


def _imports(names: list[str]) -> list[str]:
    plain = [name for name in names if " as " not in name]
    lines = [f"from models import {', '.join(plain)}"] if plain else []
    if lines and len(lines[0]) > _LINE_LENGTH:
        lines = ["from models import (", *(f"    {name}," for name in plain), ")"]
    return [*lines, *(f"from models import {name}" for name in names if name not in plain)]


def _like_isort(name: str) -> tuple[int, str]:
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return (kind, name)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _docstring(sentence: str) -> str:
    words = sentence.replace("\\", "\\\\").replace('"""', "'''")
    if words[-1] not in ".!?":
        words += "."
    width = _LINE_LENGTH - len('"""')
    lines = textwrap.wrap(f'"""{words}', width, break_on_hyphens=False, break_long_words=False)
    return lines[0] + '"""' if len(lines) == 1 else "\n".join([*lines, '"""'])
