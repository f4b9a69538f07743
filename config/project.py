"""A `nango.yaml` as the rest of the engine sees it: typed, complete, immutable.

Everything is resolved: defaults are filled in, `__extends` is merged into the fields, type
expressions that stood where a model name belongs have become anonymous models. A `NangoConfig`
survives the way through JSON unchanged, since it is stored with each deployed bundle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

from pydantic import Discriminator, JsonValue, TypeAdapter

from config.intervals import Interval
from config.problems import Position, Problem, format_problem
from perdure.documents.nodes import Mapping, Node, Sequence

__all__ = [
    "DELETE_GUARD",
    "Action",
    "ArrayType",
    "Endpoint",
    "Event",
    "Field",
    "Integration",
    "LiteralType",
    "Model",
    "NangoConfig",
    "NativeName",
    "NativeType",
    "ObjectType",
    "OnEvents",
    "ParseResult",
    "Position",
    "Problem",
    "ReferenceType",
    "Sync",
    "TypeExpr",
    "UnionType",
    "format_problem",
    "references",
]

NativeName = Literal[
    "string",
    "number",
    "bigint",
    "boolean",
    "date",
    "object",
    "array",
    "any",
    "undefined",
    "never",
    "void",
]

DELETE_GUARD = 0.5
"""Share of a model's records that a full run may delete where the sync does not say otherwise."""

Event = Literal["post-connection-creation", "pre-connection-deletion", "validate-connection"]


@dataclass(frozen=True, slots=True)
class NativeType:
    """A type that is built in, by its main name: `int` and `float` are `number` here."""

    name: NativeName
    kind: Literal["native"] = "native"


@dataclass(frozen=True, slots=True)
class LiteralType:
    """Exactly one value: a string, a number, `true`, `false` or `null`."""

    value: str | int | float | bool | None
    kind: Literal["literal"] = "literal"


@dataclass(frozen=True, slots=True)
class ReferenceType:
    """Another model, by name. It exists."""

    model: str
    kind: Literal["reference"] = "reference"


@dataclass(frozen=True, slots=True)
class ArrayType:
    """A list. A list written in YAML (`[A, B]`) is an array of a union, even of one member."""

    items: TypeExpr
    kind: Literal["array"] = "array"


@dataclass(frozen=True, slots=True)
class UnionType:
    """Any one of its members; without members it says nothing."""

    members: tuple[TypeExpr, ...]
    kind: Literal["union"] = "union"


@dataclass(frozen=True, slots=True)
class ObjectType:
    """An object written in place."""

    fields: tuple[Field, ...]
    kind: Literal["object"] = "object"


TypeExpr = Annotated[
    NativeType | LiteralType | ReferenceType | ArrayType | UnionType | ObjectType,
    Discriminator("kind"),
]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a model or of an object.

    Attributes:
        name: Its name in the data, without the `?`.
        type: What it holds.
        optional: It may be missing.
        dynamic: It stands for every key that is not named otherwise (`__string`).
    """

    name: str
    type: TypeExpr
    optional: bool = False
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """A model with the fields it inherits; a dynamic field stands last.

    Attributes:
        name: Its name.
        fields: Own fields first, then inherited ones.
        is_anonymous: It was made for a type expression given as an input or output.
    """

    name: str
    fields: tuple[Field, ...]
    is_anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API serves a sync's records or an action, below `/v1`."""

    method: str
    path: str
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Sync:
    """One sync of an integration.

    Attributes:
        name: Its name, which is also that of its script.
        description: What it does, for people.
        runs: How often it runs, as it was written.
        interval: How often it runs.
        sync_type: Whether a run replaces all records or adds to them.
        auto_start: Whether it starts by itself when a connection is created.
        track_deletes: Whether records that a full run did not see are deleted.
        input: Model of the connection metadata it needs, None when it needs none.
        output: Models of the records it saves, at least one.
        endpoints: One for each output, in order; empty in v1 files.
        scopes: OAuth scopes it needs; for people.
        version: Version its author gives it, empty when the deploy counts.
        webhook_subscriptions: Types of provider webhooks it handles; `*` is all of them.
        used_models: All models its input and outputs lead to, sorted.
        retry_limit: Seconds a step of its runs goes on trying while its failures are transient;
            None is the default, a day.
        run_timeout: Seconds a run may take, None for no limit.
        delete_guard: Share of a model's records above which a full run does not delete what it
            did not see; None deletes whatever the share.
    """

    name: str
    description: str
    runs: str
    interval: Interval
    sync_type: Literal["full", "incremental"]
    auto_start: bool
    track_deletes: bool
    input: str | None
    output: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    scopes: tuple[str, ...]
    version: str | int
    webhook_subscriptions: tuple[str, ...]
    used_models: tuple[str, ...]
    retry_limit: float | None = None
    run_timeout: float | None = None
    delete_guard: float | None = DELETE_GUARD


@dataclass(frozen=True, slots=True)
class Action:
    """One action of an integration; the attributes mean what they mean for a `Sync`.

    Attributes:
        retry_limit: As of a sync; None is the default, 15 minutes.
    """

    name: str
    description: str
    input: str | None
    output: tuple[str, ...]
    endpoint: Endpoint | None
    scopes: tuple[str, ...]
    version: str | int
    used_models: tuple[str, ...]
    retry_limit: float | None = None
    run_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class OnEvents:
    """Names of the scripts to run on each event, in order of execution."""

    post_connection_creation: tuple[str, ...] = ()
    pre_connection_deletion: tuple[str, ...] = ()
    validate_connection: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Integration:
    """One integration.

    Attributes:
        key: Its unique key (`provider_config_key`).
        syncs: Its syncs, in the order of the file.
        actions: Its actions, in the order of the file.
        on_events: Its event scripts; their files are in `<key>/on-events/`.
        post_connection_scripts: The older way to write `on_events.post_connection_creation`,
            never both; their files are in `<key>/post-connection-scripts/`.
    """

    key: str
    syncs: tuple[Sync, ...] = ()
    actions: tuple[Action, ...] = ()
    on_events: OnEvents = OnEvents()
    post_connection_scripts: tuple[str, ...] = ()

    def sync(self, name: str) -> Sync | None:
        """Return the sync of that name, None when there is none."""
        return next((sync for sync in self.syncs if sync.name == name), None)

    def action(self, name: str) -> Action | None:
        """Return the action of that name, None when there is none."""
        return next((action for action in self.actions if action.name == name), None)

    def event_scripts(self, event: Event) -> tuple[str, ...]:
        """Return the names of the scripts to run on an event, in whichever way it was written."""
        match event:
            case "post-connection-creation":
                return self.on_events.post_connection_creation or self.post_connection_scripts
            case "pre-connection-deletion":
                return self.on_events.pre_connection_deletion
            case "validate-connection":
                return self.on_events.validate_connection


@dataclass(frozen=True, slots=True)
class NangoConfig:
    """A whole `nango.yaml`.

    Attributes:
        version: Which of the two layouts the file has.
        integrations: In the order of the file.
        models: In the order of the file, anonymous ones last.
    """

    version: Literal["v1", "v2"]
    integrations: tuple[Integration, ...]
    models: tuple[Model, ...]

    def integration(self, key: str) -> Integration | None:
        """Return the integration of that unique key, None when there is none."""
        return next((item for item in self.integrations if item.key == key), None)

    def model(self, name: str) -> Model | None:
        """Return the model of that name, None when there is none."""
        return next((model for model in self.models if model.name == name), None)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the config as plain JSON data, for storage."""
        data: dict[str, JsonValue] = _adapter().dump_python(self, mode="json")
        return data

    @classmethod
    def from_json(cls, data: JsonValue) -> NangoConfig:
        """Return the config that `to_json` gave `data` for.

        Raises:
            pydantic.ValidationError: `data` is not a stored config.
        """
        return _adapter().validate_python(data)


@cache
def _adapter() -> TypeAdapter[NangoConfig]:
    return TypeAdapter(NangoConfig)


@dataclass(frozen=True, slots=True)
class ParseResult:
    """What became of a `nango.yaml`.

    Attributes:
        config: The config, None when there is an error.
        errors: All errors, in the order of the file.
        warnings: All warnings, in the order of the file.
        source: Text of the file, for `format_problem`; None when it could not be read.
        document: The file as it was written, for `locate`; None when it is no YAML.
        false_alarms: What Nango warns of although nothing is wrong, told to programs only.
    """

    config: NangoConfig | None
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    source: str | None = dataclasses.field(default=None, repr=False)
    document: Node | None = dataclasses.field(default=None, repr=False, compare=False)
    false_alarms: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is a config to work with."""
        return self.config is not None

    def locate(self, *path: str | int) -> Position | None:
        """Return where something stands in the file, None when it does not.

        Args:
            path: Keys and list indexes, as in `"integrations", "github", "syncs", "issues"`.
        """
        node = self.document
        position = node.position if node else None
        for step in path:
            if isinstance(node, Mapping) and (entry := node.entries.get(str(step))):
                node, position = entry.value, entry.key.position
            elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                position = node.position
            else:
                return None
        return position


def references(type_: TypeExpr) -> Iterator[str]:
    """Yield the names of the models that a type expression mentions, in its order."""
    match type_:
        case ReferenceType(model=model):
            yield model
        case ArrayType(items=items):
            yield from references(items)
        case UnionType(members=members):
            for member in members:
                yield from references(member)
        case ObjectType(fields=fields):
            for field in fields:
                yield from references(field.type)
        case NativeType() | LiteralType():
            return
