"""First layer of reading a `nango.yaml`: which keys there are and what kind of value each holds.

What passes here can be taken at its word by the second layer; what does not is named in `bad`, so
that the second layer passes over it instead of complaining twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as Table
from dataclasses import dataclass, field
from typing import Literal

from config.intervals import IntervalError, parse_duration
from config.problems import Path, Position, ProblemLog, SchemaCode, shorten
from perdure.documents.nodes import Entry, Mapping, Node, Scalar, Sequence, describe

__all__ = [
    "ACTION_FORM",
    "ACTION_KEYS",
    "ENDPOINT_KEYS",
    "ENDPOINT_PATH",
    "EVENTS",
    "FILE_NAME",
    "GROUP",
    "METHODS",
    "REQUIRED_KEYS",
    "SCRIPT_NAME",
    "SECTIONS",
    "SHARE",
    "SYNC_FORM",
    "SYNC_KEYS",
    "V1_KEYS",
    "V2_KEYS",
    "VERSION",
    "Schema",
    "Version",
    "check_schema",
]

Version = Literal["v1", "v2"]

EVENTS = ("post-connection-creation", "pre-connection-deletion", "validate-connection")
"""Events that scripts can be hung on."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
"""HTTP methods an action can be served under."""

SHARE = re.compile(r"off|(?P<percent>100|[0-9]{1,2}) ?%")
"""A share of a whole, or none."""

_ACTION_METHODS = (*METHODS, "PROPFIND", "REPORT")

SECTIONS = ("integrations", "models")
"""Keys at the top of a v2 file."""

V2_KEYS = ("syncs", "actions", "on-events", "post-connection-scripts")
"""Keys of an integration in a v2 file; any one of them makes the file v2."""

REQUIRED_KEYS = {"syncs": ("endpoint", "output", "runs"), "actions": ("endpoint",)}
"""Keys that a script in a v2 file must have."""

ENDPOINT_KEYS = ("method", "path", "group")
"""Keys of an endpoint that is written as a mapping."""

# A name becomes the name of a file or folder.
FILE_NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]{1,200}")
SCRIPT_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
GROUP = re.compile(r"[A-Za-z _-]{1,64}")
VERSION = re.compile(r"[0-9]+(?:\.[0-9]+\.[0-9]+)?")
ENDPOINT_PATH = re.compile(r"/[A-Za-z0-9_.:{}/-]+")
_SYNC_ENDPOINT = re.compile(r"(?:GET )?/[A-Za-z0-9_./-]+")
_ACTION_ENDPOINT = re.compile(rf"(?:(?:{'|'.join(_ACTION_METHODS)}) )?/[A-Za-z0-9_.:{{}}/-]+")


@dataclass(slots=True)
class Schema:
    """What the first layer found out.

    Attributes:
        version: Which of the two layouts the file has.
        bad: Paths of keys whose values are of no use.
    """

    version: Version = "v2"
    bad: set[Path] = field(default_factory=set)


def check_schema(root: Node | None, file: str, log: ProblemLog) -> Schema:
    """Check the keys of a file and the kind of their values.

    Args:
        root: The document, None when the file is empty.
        file: How problems name the file.
        log: Takes what is wrong.
    """
    return _Checker(file, log).check(root)


class _Checker:
    def __init__(self, file: str, log: ProblemLog) -> None:
        self._file = file
        self._log = log
        self._schema = Schema()

    def check(self, root: Node | None) -> Schema:
        integrations = root.get("integrations") if isinstance(root, Mapping) else None
        if not isinstance(root, Mapping) or _is_empty(integrations):
            position = root.position if root else Position(self._file, 1, 1, 1, 2)
            message = "The file needs a key `integrations` with your integrations below it."
            self._log.error(SchemaCode.NO_INTEGRATIONS, message, (), position)
        if not isinstance(root, Mapping):
            return self._schema
        if isinstance(integrations, Mapping):
            self._schema.version = _version(integrations)
            for key, entry in integrations.entries.items():
                self._integration(key, entry)
        elif integrations and not _is_empty(integrations):
            self._wrong(integrations, ("integrations",), "a mapping of integrations")
        self._models(root)
        if self._schema.version == "v2":
            self._unknown_keys(root, (), SECTIONS)
        return self._schema

    def _models(self, root: Mapping) -> None:
        models = root.get("models")
        if models is None:
            position = next(iter(root.entries.values())).key.position if root.entries else None
            message = "The key `models` is missing; write `models: {}` when you need none."
            self._log.error(SchemaCode.MISSING_KEY, message, ("models",), position or root.position)
        elif not isinstance(models, Mapping):
            self._wrong(models, ("models",), "a mapping of models", "write `models: {}` for none")
        else:
            for name, entry in models.entries.items():
                if not isinstance(entry.value, Mapping):
                    wanted = "a mapping of fields"
                    hint = "write `{}` for a model without fields"
                    self._wrong(entry.value, ("models", name), wanted, hint)

    def _integration(self, key: str, entry: Entry) -> None:
        path: Path = ("integrations", key)
        self._name(entry.key, path, FILE_NAME)
        if not isinstance(entry.value, Mapping):
            self._wrong(entry.value, path, "a mapping with `syncs`, `actions` or `on-events`")
        elif self._schema.version == "v1":
            for name, script in entry.value.entries.items():
                self._name(script.key, (*path, name), FILE_NAME)
                if not _is_empty(script.value):
                    self._script(script, (*path, name), V1_KEYS, ())
        else:
            self._unknown_keys(entry.value, path, V2_KEYS)
            self._scripts(entry.value, path, "syncs", SYNC_KEYS)
            self._scripts(entry.value, path, "actions", ACTION_KEYS)
            self._on_events(entry.value, path)
            if scripts := entry.value.get("post-connection-scripts"):
                self._names(scripts, (*path, "post-connection-scripts"), FILE_NAME)

    def _scripts(
        self,
        integration: Mapping,
        path: Path,
        kind: str,
        rules: Table[str, _Rule],
    ) -> None:
        scripts = integration.get(kind)
        if isinstance(scripts, Mapping):
            for name, entry in scripts.entries.items():
                self._name(entry.key, (*path, kind, name), FILE_NAME)
                self._script(entry, (*path, kind, name), rules, REQUIRED_KEYS[kind])
        elif scripts is not None:
            self._wrong(scripts, (*path, kind), f"a mapping of {kind}")

    def _script(
        self, entry: Entry, path: Path, rules: Table[str, _Rule], required: tuple[str, ...]
    ) -> None:
        if not isinstance(entry.value, Mapping):
            self._wrong(entry.value, path, "a mapping")
            return
        if self._schema.version == "v2":
            self._unknown_keys(entry.value, path, rules)
        for key in required:
            if key not in entry.value.entries:
                message = f"The key `{key}` is missing in `{shorten(str(path[-1]))}`."
                self._log.error(SchemaCode.MISSING_KEY, message, (*path, key), entry.key.position)
        for key, value in entry.value.entries.items():
            if rule := rules.get(key):
                before = len(self._log.errors)
                rule(self, value.value, (*path, key))
                if len(self._log.errors) > before:
                    self._schema.bad.add((*path, key))

    def _on_events(self, integration: Mapping, path: Path) -> None:
        events = integration.get("on-events")
        path = (*path, "on-events")
        if isinstance(events, Mapping):
            self._unknown_keys(events, path, EVENTS)
            for event in EVENTS:
                if scripts := events.get(event):
                    self._names(scripts, (*path, event), SCRIPT_NAME)
        elif events is not None:
            self._wrong(events, path, "a mapping of events")

    def _names(self, node: Node, path: Path, pattern: re.Pattern[str]) -> None:
        before = len(self._log.errors)
        if not isinstance(node, Sequence):
            self._wrong(node, path, "a list of script names")
            return
        for index, item in enumerate(node.items):
            if isinstance(item, Scalar) and isinstance(item.value, str):
                self._name(item, (*path, index), pattern)
            else:
                self._wrong(item, (*path, index), "the name of a script")
        if len(self._log.errors) > before:
            self._schema.bad.add(path)

    def _name(self, node: Scalar, path: Path, pattern: re.Pattern[str]) -> None:
        if not pattern.fullmatch(node.text):
            message = f"{shorten(node.text)!r} cannot be a name: it names a file or folder."
            hint = "use letters, digits, `-` and `_`"
            self._log.error(SchemaCode.PATTERN, message, path, node.position, hint)

    def _unknown_keys(
        self, mapping: Mapping, path: Path, known: Table[str, object] | tuple[str, ...]
    ) -> None:
        for key, entry in mapping.entries.items():
            if key not in known:
                hint = _RENAMED.get(key) or self._log.did_you_mean(key, tuple(known))
                if not hint and len(path) == 2:
                    hint = "syncs stand under `syncs`, actions under `actions`"
                where = f"in `{shorten(str(path[-1]))}`" if path else "at the top of the file"
                message = f"The key `{shorten(key)}` means nothing {where}."
                self._log.error(
                    SchemaCode.UNKNOWN_KEY,
                    message,
                    (*path, key),
                    entry.key.position,
                    hint or f"known are {', '.join(f'`{name}`' for name in known)}",
                )

    def _wrong(
        self,
        node: Node,
        path: Path,
        wanted: str,
        hint: str | None = None,
        code: SchemaCode = SchemaCode.TYPE,
    ) -> None:
        name = shorten(str(path[-1]))
        what = f"Item {name} of `{path[-2]}`" if isinstance(path[-1], int) else f"`{name}`"
        message = f"{what} must be {wanted}; this is {shorten(describe(node))}."
        self._log.error(code, message, path, node.position, hint)
        self._schema.bad.add(path)

    # What a value must be; each is a `_Rule`.

    def text(self, node: Node, path: Path) -> None:
        if not _is_text(node):
            self._wrong(node, path, "text", _quote_it(node))

    def text_or_nothing(self, node: Node, path: Path) -> None:
        if not _is_empty(node):
            self.text(node, path)

    def texts(self, node: Node, path: Path) -> None:
        if isinstance(node, Sequence):
            for index, item in enumerate(node.items):
                self.text(item, (*path, index))
        elif not _is_text(node):
            self._wrong(node, path, "text or a list of texts", _quote_it(node))

    def flag(self, node: Node, path: Path) -> None:
        if not isinstance(node, Scalar) or not isinstance(node.value, bool):
            self._wrong(node, path, "`true` or `false`")

    def duration(self, node: Node, path: Path) -> None:
        wanted = "a duration such as `90m` or `24h`"
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self._wrong(node, path, wanted)
            return
        try:
            parse_duration(node.value)
        except IntervalError:
            self._wrong(node, path, wanted, code=SchemaCode.PATTERN)

    def share(self, node: Node, path: Path) -> None:
        # `off` is a word in YAML 1.2 and a boolean in 1.1; either way it says what is meant.
        if not isinstance(node, Scalar) or not SHARE.fullmatch(node.text):
            wanted = "a share such as `20%`, or `off`"
            self._wrong(node, path, wanted, code=SchemaCode.PATTERN)

    def sync_type(self, node: Node, path: Path) -> None:
        self._one_of(node, path, ("full", "incremental"))

    def flag_or_nothing(self, node: Node, path: Path) -> None:
        if not _is_empty(node):
            self.flag(node, path)

    def v1_version(self, node: Node, path: Path) -> None:
        if not isinstance(node, Scalar) or isinstance(node.value, bool):
            self._wrong(node, path, "a number or text")

    def version(self, node: Node, path: Path) -> None:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not (
            isinstance(value, int) or (isinstance(value, str) and VERSION.fullmatch(value))
        ):
            self._wrong(node, path, "a number such as `1` or `1.0.0`", code=SchemaCode.NO_FORM)

    def sync_endpoints(self, node: Node, path: Path) -> None:
        if isinstance(node, Sequence):
            for index, item in enumerate(node.items):
                self._endpoint(item, (*path, index), SYNC_FORM)
        else:
            self._endpoint(node, path, SYNC_FORM)

    def action_endpoint(self, node: Node, path: Path) -> None:
        self._endpoint(node, path, ACTION_FORM)

    def _endpoint(self, node: Node, path: Path, form: _EndpointForm) -> None:
        if isinstance(node, Mapping):
            self._endpoint_mapping(node, path, form)
        elif not isinstance(node, Scalar) or not isinstance(node.value, str):
            self._wrong(node, path, f"text such as `{form.example}`, or a mapping", code=form.code)
        elif not form.pattern.fullmatch(node.value):
            has_placeholder = "{" in node.value and _ACTION_ENDPOINT.fullmatch(node.value)
            hint = "write it as `{method: GET, path: ...}`" if has_placeholder else None
            self._wrong(node, path, f"of the form `{form.example}`", hint, form.code)

    def _endpoint_mapping(self, node: Mapping, path: Path, form: _EndpointForm) -> None:
        self._unknown_keys(node, path, ENDPOINT_KEYS)
        where = node.get("path")
        if where is None:
            self._log.error(form.code, "The endpoint needs a `path`.", path, node.position)
        else:
            wanted = "a path such as `/tickets` or `/tickets/{Ticket:id}`"
            self._matching(where, (*path, "path"), ENDPOINT_PATH, wanted)
        if method := node.get("method"):
            self._one_of(method, (*path, "method"), form.methods)
        if group := node.get("group"):
            wanted = "at most 64 letters, spaces, `-` and `_`"
            self._matching(group, (*path, "group"), GROUP, wanted)

    def _matching(self, node: Node, path: Path, pattern: re.Pattern[str], wanted: str) -> None:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self._wrong(node, path, wanted)
        elif not pattern.fullmatch(node.value):
            self._wrong(node, path, wanted, code=SchemaCode.PATTERN)

    def _one_of(self, node: Node, path: Path, known: tuple[str, ...]) -> None:
        wanted = " or ".join(f"`{word}`" for word in known)
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self._wrong(node, path, wanted)
        elif node.value not in known:
            hint = self._log.did_you_mean(node.value, known)
            self._wrong(node, path, wanted, hint, SchemaCode.ENUM)


_Rule = Callable[[_Checker, Node, Path], None]

SYNC_KEYS: dict[str, _Rule] = {
    "description": _Checker.text,
    "runs": _Checker.text,
    "output": _Checker.texts,
    "input": _Checker.text_or_nothing,
    "endpoint": _Checker.sync_endpoints,
    "sync_type": _Checker.sync_type,
    "auto_start": _Checker.flag,
    "track_deletes": _Checker.flag,
    "scopes": _Checker.texts,
    "webhook-subscriptions": _Checker.texts,
    "version": _Checker.version,
    "retry_limit": _Checker.duration,
    "run_timeout": _Checker.duration,
    "delete_guard": _Checker.share,
}

ACTION_KEYS: dict[str, _Rule] = {
    "description": _Checker.text,
    "output": _Checker.texts,
    "input": _Checker.text_or_nothing,
    "endpoint": _Checker.action_endpoint,
    "scopes": _Checker.texts,
    "version": _Checker.version,
    "retry_limit": _Checker.duration,
    "run_timeout": _Checker.duration,
}

V1_KEYS: dict[str, _Rule] = {
    "type": _Checker.text,
    "returns": _Checker.texts,
    "description": _Checker.text,
    "runs": _Checker.text_or_nothing,
    "track_deletes": _Checker.flag_or_nothing,
    "auto_start": _Checker.flag_or_nothing,
    "version": _Checker.v1_version,
}
"""Keys of a script in a v1 file; others are allowed there and mean nothing."""

_RENAMED = {
    "returns": "it is called `output` here",
    "provider": "the provider is chosen where the integration is set up, not here",
    "frequency": "it is called `runs` here",
}


@dataclass(frozen=True, slots=True)
class _EndpointForm:
    pattern: re.Pattern[str]
    methods: tuple[str, ...]
    example: str
    code: SchemaCode


SYNC_FORM = _EndpointForm(_SYNC_ENDPOINT, ("GET",), "GET /tickets", SchemaCode.TYPE)
ACTION_FORM = _EndpointForm(_ACTION_ENDPOINT, _ACTION_METHODS, "POST /tickets", SchemaCode.NO_FORM)


def _version(integrations: Mapping) -> Version:
    """A file is v2 as soon as one of its integrations has a key of v2.

    Nango looks at the first integration only, and then drops the scripts of the others.
    """
    bodies = [entry.value for entry in integrations.entries.values()]
    has_v2_key = any(
        key in body.entries for body in bodies if isinstance(body, Mapping) for key in V2_KEYS
    )
    return "v2" if has_v2_key else "v1"


def _is_empty(node: Node | None) -> bool:
    return node is None or (isinstance(node, Scalar) and node.value is None)


def _is_text(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, str)


def _quote_it(node: Node) -> str | None:
    is_value = isinstance(node, Scalar) and node.value is not None
    return "put it in quotes" if is_value else None
