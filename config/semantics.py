"""Second layer, second half: the integrations of a `nango.yaml`, their syncs and actions.

Builds what the rest of the engine works with and notes every rule that is broken between values
which are well-formed each by itself. What the first layer refused is passed over in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from config.intervals import Interval, IntervalError, parse_declared_runs, parse_duration
from config.models import ModelReader
from config.problems import FileCode, NoteCode, Path, Problem, ProblemLog, SemanticCode, shorten
from config.project import (
    DELETE_GUARD,
    Action,
    Endpoint,
    Integration,
    LiteralType,
    OnEvents,
    Sync,
    UnionType,
)
from config.schema import EVENTS, METHODS, SHARE, V1_KEYS, Schema
from perdure.documents.nodes import Entry, Mapping, Node, Scalar, Sequence, YamlError

__all__ = ["read_integrations"]

_DEFAULT_RUNS = "every day"
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_MOST_SCRIPTS = 10_000
_TYPES_HINT = "known are `sync` and `action`"


def read_integrations(
    section: Node | None, schema: Schema, models: ModelReader, log: ProblemLog
) -> tuple[Integration, ...]:
    """Return the integrations of a file; not to be used when `log` has errors afterwards.

    Args:
        section: What the key `integrations` leads to.
        schema: What the first layer found.
        models: The models of the file, already read.
        log: Takes what is wrong.

    Raises:
        YamlError: There are more scripts than any file needs.
    """
    if not isinstance(section, Mapping):
        return ()
    reader = _Reader(schema, models, log)
    return tuple(
        reader.read(key, entry.value)
        for key, entry in section.entries.items()
        if isinstance(entry.value, Mapping)
    )


@dataclass(frozen=True, slots=True)
class _Script:
    """One sync or action as it stands in the file."""

    integration: str
    kind: Literal["syncs", "actions"]
    name: str
    key: Scalar
    body: Mapping
    path: Path
    bad: set[Path]

    @property
    def place(self) -> Path:
        return (self.integration, self.kind, self.name)

    def get(self, key: str) -> Node | None:
        """Return the value of a key, None when it is missing or of no use."""
        return None if (*self.path, key) in self.bad else self.body.get(key)

    def text(self, key: str) -> str | None:
        node = self.get(key)
        return _text(node)

    def flag(self, key: str, *, default: bool) -> bool:
        node = self.get(key)
        is_flag = isinstance(node, Scalar) and isinstance(node.value, bool)
        return bool(node.value) if isinstance(node, Scalar) and is_flag else default

    def texts(self, key: str) -> list[Scalar]:
        """Return the texts of a key that takes one or a list; one empty text is none."""
        node = self.get(key)
        if isinstance(node, Sequence):
            return [item for item in node.items if isinstance(item, Scalar)]
        return [node] if isinstance(node, Scalar) and node.value else []

    def seconds(self, key: str) -> float | None:
        text = self.text(key)
        return None if text is None else parse_duration(text).total_seconds()

    def share(self, key: str, *, default: float) -> float | None:
        node = self.get(key)
        match = SHARE.fullmatch(node.text) if isinstance(node, Scalar) else None
        if match is None:
            return default
        return int(match["percent"]) / 100 if match["percent"] else None

    def version(self) -> str | int:
        node = self.get("version")
        if not isinstance(node, Scalar) or node.value is None:
            return ""
        return node.value if isinstance(node.value, int) else node.text


class _Reader:
    def __init__(self, schema: Schema, models: ModelReader, log: ProblemLog) -> None:
        self._schema = schema
        self._models = models
        self._log = log
        self._scripts = 0
        # Of the integration that is being read: where a model or an endpoint was used first.
        self._outputs: dict[str, int] = {}
        self._endpoints: dict[tuple[str, str], int] = {}
        # Those of them that were used by what Nango passes over from there on.
        self._passed_over: set[str | tuple[str, str]] = set()

    def read(self, key: str, body: Mapping) -> Integration:
        self._outputs = {}
        self._endpoints = {}
        self._passed_over = set()
        if self._schema.version == "v1":
            return self._read_v1(key, body)
        syncs = [self._sync(script) for script in self._scripts_of(key, body, "syncs")]
        actions = [self._action(script) for script in self._scripts_of(key, body, "actions")]
        on_events = self._on_events(key, body)
        after_creation = self._names(body.get("post-connection-scripts"))
        found = tuple(sync for sync in syncs if sync)
        return Integration(key, found, tuple(actions), on_events, after_creation)

    def _read_v1(self, key: str, body: Mapping) -> Integration:
        syncs: list[Sync | None] = []
        actions: list[Action] = []
        for name, entry in body.entries.items():
            path = ("integrations", key, name)
            if path in self._schema.bad:
                continue
            if not isinstance(entry.value, Mapping):
                self._without_output(entry.key, (key, "syncs", name))
                continue
            kind = _text(entry.value.get("type"))
            if kind not in (None, "sync", "action"):
                message = f"`{shorten(kind)}` is no type of script, so this is a sync."
                position = entry.value.entries["type"].value.position
                code = NoteCode.UNKNOWN_WORD
                self._log.warn(code, message, (key, "syncs", name), position, _TYPES_HINT)
            if kind == "action":
                script = self._script(key, "actions", name, entry, path)
                actions.append(self._action(self._translate_v1(script)))
            else:
                script = self._script(key, "syncs", name, entry, path)
                syncs.append(self._sync(self._translate_v1(script)))
        return Integration(key, tuple(sync for sync in syncs if sync), tuple(actions))

    def _scripts_of(
        self, integration: str, body: Mapping, kind: Literal["syncs", "actions"]
    ) -> list[_Script]:
        section = body.get(kind)
        if not isinstance(section, Mapping):
            return []
        return [
            self._script(integration, kind, name, entry, ("integrations", integration, kind, name))
            for name, entry in section.entries.items()
            if isinstance(entry.value, Mapping)
        ]

    def _script(
        self,
        integration: str,
        kind: Literal["syncs", "actions"],
        name: str,
        entry: Entry,
        path: Path,
    ) -> _Script:
        self._scripts += 1
        if self._scripts > _MOST_SCRIPTS:
            message = f"The file has more than {_MOST_SCRIPTS:,} syncs and actions."
            position = entry.key.position
            raise YamlError(Problem(FileCode.TOO_COMPLEX, message, position=position))
        body = entry.value if isinstance(entry.value, Mapping) else Mapping(entry.key.position, {})
        return _Script(integration, kind, name, entry.key, body, path, self._schema.bad)

    def _sync(self, script: _Script) -> Sync | None:
        errors, warnings = len(self._log.errors), len(self._log.warnings)
        outputs, endpoints = len(self._outputs), len(self._endpoints)
        sync = self._read_sync(script)
        found = {problem.code for problem in self._log.errors[errors:]}
        for code in (SemanticCode.ENDPOINTS_MISMATCH, SemanticCode.INVALID_RUNS):
            if code in found:
                self._log.mark_follow_ups(of=code, errors=errors, warnings=warnings)
                self._passed_over.update(
                    islice(reversed(self._outputs), len(self._outputs) - outputs)
                )
                self._passed_over.update(
                    islice(reversed(self._endpoints), len(self._endpoints) - endpoints)
                )
                break
        return sync

    def _read_sync(self, script: _Script) -> Sync | None:
        is_v1 = self._schema.version == "v1"
        outputs = self._output_models(script)
        endpoints = self._sync_endpoints(script, len(outputs))
        interval = self._interval(script)
        if not outputs:
            if is_v1 or script.get("output"):
                self._without_output(script.key, script.place)
            return None
        is_incremental = script.text("sync_type") == "incremental"
        track_deletes = script.flag("track_deletes", default=False)
        if is_incremental and track_deletes:
            node = script.get("track_deletes") or script.key
            message = "`track_deletes` does nothing in an incremental sync."
            hint = "delete records with `batch_delete`, or make the sync `full`"
            code = NoteCode.TRACK_DELETES_IGNORED
            self._log.warn(code, message, script.place, node.position, hint)
        input_model = self._input_model(script)
        return Sync(
            name=script.name,
            description=self._description(script),
            runs=script.text("runs") or _DEFAULT_RUNS,
            interval=interval,
            sync_type="incremental" if is_v1 or is_incremental else "full",
            auto_start=script.flag("auto_start", default=True),
            track_deletes=track_deletes,
            input=input_model,
            output=outputs,
            endpoints=endpoints,
            scopes=self._scopes(script),
            version=script.version(),
            webhook_subscriptions=tuple(
                node.text for node in script.texts("webhook-subscriptions")
            ),
            used_models=self._used_models(outputs, input_model),
            retry_limit=script.seconds("retry_limit"),
            run_timeout=script.seconds("run_timeout"),
            delete_guard=script.share("delete_guard", default=DELETE_GUARD),
        )

    def _action(self, script: _Script) -> Action:
        outputs = self._output_models(script)
        input_model = self._input_model(script)
        return Action(
            name=script.name,
            description=self._description(script),
            input=input_model,
            output=outputs,
            endpoint=self._action_endpoint(script),
            scopes=self._scopes(script),
            version=script.version(),
            used_models=self._used_models(outputs, input_model),
            retry_limit=script.seconds("retry_limit"),
            run_timeout=script.seconds("run_timeout"),
        )

    # Models in and out.

    def _used_models(self, outputs: tuple[str, ...], input_model: str | None) -> tuple[str, ...]:
        return self._models.used_by([*outputs, input_model] if input_model else outputs)

    def _output_models(self, script: _Script) -> tuple[str, ...]:
        place = (*script.place, "[output]")
        is_sync = script.kind == "syncs"
        used = self._outputs if is_sync else {}
        outputs = []
        for node in script.texts("output"):
            name = self._model_name(script, node, "output", warn=not is_sync)
            if name in used:
                where = f"in line {used[name]}"
                message = f"The model `{shorten(name)}` is already an output {where}."
                hint = "two syncs of an integration cannot share a model" if is_sync else None
                code = SemanticCode.DUPLICATE_MODEL
                self._log.error(code, message, place, node.position, hint)
                if is_sync and self._repeats_passed_over(name):
                    used[name] = node.position.line
            used.setdefault(name, node.position.line)
            if is_sync and not self._models.has_id(name):
                self._missing_id(name, node, place)
            outputs.append(name)
        return tuple(outputs)

    def _repeats_passed_over(self, key: str | tuple[str, str]) -> bool:
        """Return whether the last error is but a follow-up, and mark it as one."""
        if key not in self._passed_over:
            return False
        self._passed_over.discard(key)
        errors, warnings = len(self._log.errors) - 1, len(self._log.warnings)
        self._log.mark_follow_ups(of=None, errors=errors, warnings=warnings)
        return True

    def _missing_id(self, name: str, node: Scalar, place: Path) -> None:
        if self._models.is_declared(name):
            message = f"The model `{name}` has no field `id`; records are told apart by it."
            hint = f"add `id: string` to `{name}`"
        else:
            message = f"`{shorten(node.text)}` is not a model with a field `id`."
            hint = self._models.hint_for(node.text) or "name a model of the section `models`"
        self._log.error(SemanticCode.MISSING_ID, message, place, node.position, hint)

    def _input_model(self, script: _Script) -> str | None:
        node = script.get("input")
        if not isinstance(node, Scalar) or not node.value:
            return None
        return self._model_name(script, node, "input", warn=True)

    def _model_name(
        self, script: _Script, node: Scalar, slot: Literal["input", "output"], *, warn: bool
    ) -> str:
        """Return the name of the model a text stands for, making one up for a type expression."""
        if self._models.is_declared(node.text):
            return node.text
        place = (*script.place, f"[{slot}]")
        kind = "sync" if self._schema.version == "v1" else script.kind[:-1]
        owner = f"{_word(script.integration)}_{kind}_{_word(script.name)}"
        model = self._models.add_anonymous(f"Anonymous_{owner}_{slot}", slot, node, place)
        type_ = model.fields[0].type
        if warn and not isinstance(type_, UnionType):
            message = f"`{shorten(node.text)}` is not the name of a model."
            hint = self._models.hint_for(node.text) if isinstance(type_, LiteralType) else None
            code = SemanticCode.MODEL_IS_LITERAL
            self._log.warn(code, message, place, node.position, hint)
        return model.name

    # Endpoints.

    def _sync_endpoints(self, script: _Script, outputs: int) -> tuple[Endpoint, ...]:
        node = script.get("endpoint")
        if node is None:
            return ()
        nodes = node.items if isinstance(node, Sequence) else [node]
        endpoints = []
        for item in nodes:
            endpoint = _endpoint(item, "GET")
            self._unique(script, endpoint, item, "[endpoints]")
            self._placeholders(script, endpoint, item, "[endpoints]")
            endpoints.append(endpoint)
        lists_none = isinstance(script.get("output"), Sequence)
        if (outputs or lists_none) and len(endpoints) != outputs:
            message = (
                f"The sync `{shorten(script.name)}` has {_count(outputs, 'output')}"
                f" and {_count(len(endpoints), 'endpoint')}."
            )
            hint = "give one endpoint for each output, in the same order"
            code = SemanticCode.ENDPOINTS_MISMATCH
            position = script.body.entries["endpoint"].key.position
            self._log.error(code, message, script.place, position, hint)
        return tuple(endpoints)

    def _action_endpoint(self, script: _Script) -> Endpoint | None:
        node = script.get("endpoint")
        if node is None:
            return None
        endpoint = _endpoint(node, "POST")
        self._unique(script, endpoint, node, "[endpoint]")
        self._placeholders(script, endpoint, node, "[endpoint]")
        if endpoint.method not in METHODS:
            message = f"`{endpoint.method}` is not a method that clients use."
            hint = f"known are {', '.join(METHODS)}"
            code = NoteCode.UNUSUAL_METHOD
            self._log.warn(code, message, (*script.place, "[endpoint]"), node.position, hint)
        return endpoint

    def _unique(self, script: _Script, endpoint: Endpoint, node: Node, part: str) -> None:
        key = (endpoint.method, endpoint.path)
        line = self._endpoints.get(key)
        if line is None:
            self._endpoints[key] = node.position.line
            return
        message = f"The endpoint `{shorten(' '.join(key))}` is already taken, in line {line}."
        code = SemanticCode.DUPLICATE_ENDPOINT
        self._log.error(code, message, (*script.place, part), node.position)
        if self._repeats_passed_over(key):
            self._endpoints[key] = node.position.line

    def _placeholders(self, script: _Script, endpoint: Endpoint, node: Node, part: str) -> None:
        for match in _PLACEHOLDER.finditer(endpoint.path):
            name = match[1].partition(":")[0]
            if not self._models.is_declared(name):
                message = f"The path names the model `{shorten(name)}`, which does not exist."
                hint = "a placeholder is the name of a model, as in `/tickets/{Ticket:id}`"
                place = (*script.place, part)
                self._log.error(SemanticCode.MODEL_NOT_FOUND, message, place, node.position, hint)

    # The rest.

    def _description(self, script: _Script) -> str:
        text = script.text("description") or ""
        as_it_is = self._schema.version == "v1" and script.kind == "syncs"
        return text if as_it_is else text.strip()

    def _interval(self, script: _Script) -> Interval:
        node = script.get("runs")
        try:
            runs = script.text("runs")
            if runs == "" and self._schema.version == "v1":
                runs = None
            return parse_declared_runs(_DEFAULT_RUNS if runs is None else runs)
        except IntervalError as error:
            position = node.position if node else script.key.position
            message = f"{error.message} ({error.code})"
            self._log.error(SemanticCode.INVALID_RUNS, message, script.place, position)
            return Interval()

    def _scopes(self, script: _Script) -> tuple[str, ...]:
        text = script.text("scopes")
        if text is not None:
            return tuple(text.split(","))
        return tuple(node.text for node in script.texts("scopes"))

    def _on_events(self, integration: str, body: Mapping) -> OnEvents:
        section = body.get("on-events")
        names = {
            event: self._names(section.get(event)) if isinstance(section, Mapping) else ()
            for event in EVENTS
        }
        if (
            isinstance(section, Mapping)
            and section.entries
            and self._names(body.get("post-connection-scripts"))
        ):
            message = "`post-connection-scripts` and `on-events` cannot both name scripts."
            hint = "move the scripts to `on-events`, below `post-connection-creation`"
            code = SemanticCode.BOTH_POST_CONNECTION
            position = body.entries["on-events"].key.position
            self._log.error(code, message, (integration, "on-events"), position, hint)
        return OnEvents(*(names[event] for event in EVENTS))

    def _names(self, node: Node | None) -> tuple[str, ...]:
        items = node.items if isinstance(node, Sequence) else []
        return tuple(item.text for item in items if isinstance(item, Scalar))

    def _without_output(self, key: Scalar, place: Path) -> None:
        message = f"The sync `{shorten(key.text)}` has no output, so it is left out."
        hint = "name the model of the records it saves"
        self._log.warn(NoteCode.NO_OUTPUT, message, place, key.position, hint)

    def _translate_v1(self, script: _Script) -> _Script:
        """Return a script of the older layout as one of the newer, with the keys it knows."""
        entries = {}
        for name, entry in script.body.entries.items():
            if name in V1_KEYS:
                entries["output" if name == "returns" else name] = entry
            else:
                message = f"The key `{shorten(name)}` does nothing in this older kind of file."
                hint = "put the script under `syncs` or `actions` to use it"
                code = NoteCode.KEY_IGNORED
                self._log.warn(code, message, (*script.place, name), entry.key.position, hint)
        if (*script.path, "returns") in script.bad:
            del entries["output"]
        return replace(script, body=Mapping(script.body.position, entries))


def _endpoint(node: Node, default_method: str) -> Endpoint:
    """Return the endpoint that a node of either form describes."""
    if isinstance(node, Mapping):
        method, path, group = (_text(node.get(key)) for key in ("method", "path", "group"))
        return Endpoint(method or default_method, path or "", group)
    first, space, second = (_text(node) or "").partition(" ")
    return Endpoint(first.upper(), second) if space else Endpoint(default_method, first)


def _text(node: Node | None) -> str | None:
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None


def _word(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "", name)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
