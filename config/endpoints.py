"""The endpoints that a `nango.yaml` declares, and which of them a request means.

A path is made of literal text and placeholders. A placeholder takes one or more characters of one
segment of the path:

    {Ticket:id}   the field `id` of the model `Ticket`
    {Ticket}      the same, if `Ticket` has an `id`; otherwise whatever names a `Ticket`
    :id, {id}     a value called `id`; the colon form is a whole segment

Each value is known by the name of its field (`id`), by `Ticket_id` where two placeholders of a path
mean fields of the same name. A method and path may be declared by many integrations; the request
says which it means. Within one integration literal text wins over placeholders.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from config.project import Action, Endpoint, Model, NangoConfig, Sync

__all__ = ["EndpointIndex", "EndpointMatch", "EndpointTarget", "PathParameter", "PathTemplate"]

_PLACEHOLDER = re.compile(r"\{([^{}/]+)\}|(?<=/):([A-Za-z_][A-Za-z0-9_]*)(?=/|\Z)")
_MOST_COMPARED = 500
_LONGEST_COMPARED = 200


@dataclass(frozen=True, slots=True)
class PathParameter:
    """A value that stands in a path.

    Attributes:
        name: What it is called, once in a path.
        model: Model that the placeholder names, None when it names none.
        field: Field of `model` that it is, or plainly its name when there is no model.
    """

    name: str
    model: str | None
    field: str


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A path as it was declared, taken apart.

    Attributes:
        parts: Literal text and placeholders, in order.
    """

    parts: tuple[str | PathParameter, ...]

    @classmethod
    def parse(cls, path: str, models: Mapping[str, Model]) -> PathTemplate:
        """Take a declared path apart.

        Args:
            path: As it stands in the file.
            models: The models of the file by name.
        """
        parts: list[str | PathParameter] = []
        end = 0
        for match in _PLACEHOLDER.finditer(path):
            if match.start() > end:
                parts.append(path[end : match.start()])
            parts.append(_parameter(match[1] or match[2], models))
            end = match.end()
        if end < len(path):
            parts.append(path[end:])
        return cls(tuple(_named_apart(parts)))

    @property
    def parameters(self) -> tuple[PathParameter, ...]:
        """The placeholders, in order."""
        return tuple(part for part in self.parts if isinstance(part, PathParameter))

    @property
    def shape(self) -> str:
        """What paths have in common that match the same requests: the path without names."""
        return "".join(
            "{}" if isinstance(part, PathParameter) else _quoted(part) for part in self.parts
        )

    @property
    def url(self) -> str:
        """The path with its placeholders as `{name}` and all else as it stands in a URL."""
        return "".join(
            f"{{{part.name}}}" if isinstance(part, PathParameter) else _quoted(part)
            for part in self.parts
        )

    def segments(self) -> list[list[str | PathParameter]]:
        """Return the parts of each segment; the first segment follows the leading slash."""
        segments: list[list[str | PathParameter]] = [[]]
        for part in self.parts:
            if isinstance(part, PathParameter):
                segments[-1].append(part)
                continue
            first, *others = part.split("/")
            segments[-1] += [first] if first else []
            segments += [[text] if text else [] for text in others]
        return segments[1:]


@dataclass(frozen=True, slots=True)
class EndpointTarget:
    """What an endpoint leads to.

    Attributes:
        integration: Key of the integration that declares it.
        endpoint: As it was declared.
        template: Its path, taken apart.
        script: The action to trigger, or the sync whose records are answered.
        model: Which of the sync's outputs it serves, None for an action.
    """

    integration: str
    endpoint: Endpoint
    template: PathTemplate
    script: Sync | Action
    model: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointMatch:
    """A request's endpoint, with the values of its placeholders by name."""

    target: EndpointTarget
    values: Mapping[str, str]


class EndpointIndex:
    """All endpoints of a project, ready to be looked up.

    Args:
        config: The project.

    Attributes:
        targets: Every endpoint, in the order of the file.
    """

    def __init__(self, config: NangoConfig) -> None:
        self.targets = tuple(_targets(config))
        self._roots: dict[str, _Node] = {}
        for target in self.targets:
            self._roots.setdefault(target.integration, _Node()).add(target)

    def find(self, integration: str, method: str, path: str) -> EndpointMatch | None:
        """Return what a request to an integration means, None when it declares nothing of it.

        Args:
            integration: Key of the integration.
            method: HTTP method in upper case.
            path: Path with its leading slash, percent-encoded as it came. A slash at the end
                makes no difference unless it was declared.
        """
        for node, values in self._nodes(integration, path):
            if target := node.targets.get(method):
                names = (parameter.name for parameter in target.template.parameters)
                return EndpointMatch(target, dict(zip(names, values, strict=True)))
        return None

    def methods(self, integration: str, path: str) -> tuple[str, ...]:
        """Return the methods that an integration declares for a path, sorted."""
        nodes = self._nodes(integration, path)
        return tuple(sorted({method for node, _ in nodes for method in node.targets}))

    def near(self, integration: str, method: str, path: str) -> tuple[str, ...]:
        """Return at most three endpoints of an integration that were perhaps meant."""
        wanted = unquote(path)
        if len(wanted) > _LONGEST_COMPARED:
            return ()
        known = [
            f"{target.endpoint.method} {target.endpoint.path}"
            for target in self.targets
            if target.integration == integration
        ]
        return tuple(difflib.get_close_matches(f"{method} {wanted}", known[:_MOST_COMPARED]))

    def integrations(self, method: str, path: str) -> tuple[str, ...]:
        """Return the keys of all integrations that declare an endpoint for a request."""
        return tuple(key for key in self._roots if self.find(key, method, path))

    def _nodes(self, integration: str, path: str) -> list[tuple[_Node, tuple[str, ...]]]:
        root = self._roots.get(integration)
        if root is None:
            return []
        segments = [unquote(segment) for segment in path.split("/")[1:]]
        found = list(root.walk(segments))
        if not found and segments[1:] and not segments[-1]:
            found = list(root.walk(segments[:-1]))
        return found


@dataclass(slots=True)
class _Pattern:
    """A segment with placeholders."""

    expression: re.Pattern[str]
    literal_length: int
    node: _Node


@dataclass(slots=True)
class _Node:
    """All endpoints whose paths begin alike."""

    literals: dict[str, _Node] = field(default_factory=dict)
    patterns: list[_Pattern] = field(default_factory=list)
    targets: dict[str, EndpointTarget] = field(default_factory=dict)

    def add(self, target: EndpointTarget) -> None:
        node = self
        for segment in target.template.segments():
            node = node._child(segment)
        # Of two paths that differ in the names of their placeholders only, the first is served.
        node.targets.setdefault(target.endpoint.method, target)

    def _child(self, segment: Sequence[str | PathParameter]) -> _Node:
        texts = [part for part in segment if isinstance(part, str)]
        if len(texts) == len(segment):
            return self.literals.setdefault("".join(texts), _Node())
        expression = _expression(segment)
        for known in self.patterns:
            if known.expression == expression:
                return known.node
        added = _Pattern(expression, sum(map(len, texts)), _Node())
        self.patterns.append(added)
        self.patterns.sort(key=lambda pattern: -pattern.literal_length)
        return added.node

    def walk(
        self, segments: Sequence[str], values: tuple[str, ...] = ()
    ) -> Iterator[tuple[_Node, tuple[str, ...]]]:
        """Yield where a path leads, the most literal way first, with what it puts in its place."""
        if not segments:
            if self.targets:
                yield self, values
            return
        segment, rest = segments[0], segments[1:]
        if literal := self.literals.get(segment):
            yield from literal.walk(rest, values)
        for pattern in self.patterns:
            if match := pattern.expression.fullmatch(segment):
                yield from pattern.node.walk(rest, (*values, *match.groups()))


def _targets(config: NangoConfig) -> Iterator[EndpointTarget]:
    models = {model.name: model for model in config.models}
    for integration in config.integrations:
        for sync in integration.syncs:
            for endpoint, model in zip(sync.endpoints, sync.output, strict=False):
                template = PathTemplate.parse(endpoint.path, models)
                yield EndpointTarget(integration.key, endpoint, template, sync, model)
        for action in integration.actions:
            if action.endpoint:
                template = PathTemplate.parse(action.endpoint.path, models)
                yield EndpointTarget(integration.key, action.endpoint, template, action)


def _parameter(text: str, models: Mapping[str, Model]) -> PathParameter:
    name, _, field_name = text.partition(":")
    model = models.get(name)
    if model is None:
        name = field_name or name
        return PathParameter(name, None, name)
    if not field_name:
        field_name = "id" if any(known.name == "id" for known in model.fields) else model.name
    return PathParameter(field_name, model.name, field_name)


def _named_apart(parts: Sequence[str | PathParameter]) -> Iterator[str | PathParameter]:
    parameters = [part for part in parts if isinstance(part, PathParameter)]
    fields = [parameter.field for parameter in parameters]
    taken: set[str] = set()
    for part in parts:
        if isinstance(part, str):
            yield part
            continue
        name = part.field
        if fields.count(name) > 1 and part.model:
            name = f"{part.model}_{name}"
        unique, count = name, 1
        while unique in taken:
            count += 1
            unique = f"{name}_{count}"
        taken.add(unique)
        yield PathParameter(unique, part.model, part.field)


def _quoted(text: str) -> str:
    return quote(text, safe="/:")


def _expression(segment: Sequence[str | PathParameter]) -> re.Pattern[str]:
    """Return what matches a segment, in time linear in its length.

    Each value but the last ends where the text that follows it is first found, for good.
    """
    marked = "".join(
        "{}" if isinstance(part, PathParameter) else re.escape(part) for part in segment
    )
    first, *others = marked.split("{}")
    *inner, last = others
    groups = "".join(f"(?>(.+?){text})" for text in inner)
    return re.compile(f"{first}{groups}(.+){last}", re.DOTALL)
