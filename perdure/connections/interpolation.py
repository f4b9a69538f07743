"""Templates of provider entries: `Bearer ${apiKey}`, `https://${connectionConfig.shop}.example.com`.

A template may name what stands in `TemplateVariables` and nothing else; there is no evaluation.

    template     = option *("||" option)          the first option that resolves wins
    option       = *(text / "${" expression "}" / helper "(" option ")")
    expression   = choice *("||" choice)
    choice       = helper "(" option ")" / path
    helper       = "base64" / "base64url" / "sha256" / "urlencode"
    path         = "connectionConfig." name / "credentials." name / "integrationConfig." name /
                   "metadata." name / "step" number "." name /
                   "apiKey" / "username" / "password" / "accessToken" / "clientId" /
                   "clientSecret" / "endpoint" / "path" / "method" /
                   "now" / "now.seconds" / "now.milliseconds"

A template with a path that has no value resolves to None: the header or query parameter it was
for is then not sent.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

from pydantic import JsonValue

__all__ = [
    "RequestVariables",
    "TemplateVariables",
    "interpolate",
    "interpolate_json",
    "interpolate_url",
    "variables_in",
]

_HELPERS: Mapping[str, Callable[[str], str]] = {
    "base64": lambda text: base64.b64encode(text.encode()).decode("ascii"),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode("ascii").rstrip("="),
    "sha256": lambda text: hashlib.sha256(text.encode()).hexdigest(),
    "urlencode": lambda text: quote(text, safe=""),
}

# The same thing is called by other names where credentials come from a form, a file or a provider.
_CREDENTIAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "apiKey": ("apiKey", "api_key"),
    "username": ("username",),
    "password": ("password",),
    "accessToken": ("accessToken", "access_token", "token"),
}
_REQUEST_NAMES = frozenset({"endpoint", "path", "method"})
_PATH = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
_OPENING = re.compile(rf"\$\{{|\b(?:{'|'.join(sorted(_HELPERS, key=len, reverse=True))})\(")
_NAMED = re.compile(r"(?:\$\{|\|\|)\s*([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*(?=\}|\|\|)")
_AUTHORITY = re.compile(r"https?://[^/]*", re.IGNORECASE)
_UNSAFE_IN_HOST = re.compile(r"[/?#@\\\s]")

_Lookup = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class RequestVariables:
    """The request that a template is filled in for.

    Attributes:
        method: In upper case.
        endpoint: As its author wrote it, with its query.
        path: The endpoint without its query.
    """

    method: str
    endpoint: str
    path: str


@dataclass(frozen=True, slots=True)
class TemplateVariables:
    """What templates may name.

    Attributes:
        connection_config: Parameters of the connection, such as a subdomain.
        credentials: Revealed credentials.
        client_id: Of the integration, or of the connection where it has a client of its own.
        client_secret: The same.
        integration_config: Parameters of the integration.
        metadata: Of the connection.
        steps: Answers to the token requests made so far, `${step1...}` being the first.
        request: The request that is made, None where there is none.
        now: The present moment, None where a template may not depend on it.
    """

    connection_config: Mapping[str, JsonValue] = field(default_factory=dict)
    credentials: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    integration_config: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)
    metadata: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)
    steps: Sequence[JsonValue] = field(default=(), repr=False)
    request: RequestVariables | None = None
    now: datetime | None = None

    def lookup(self, path: str) -> str | None:
        """Return the text at a path, None when there is none or the path is not allowed."""
        root, _, rest = path.partition(".")
        if rest:
            return self._below(root, rest)
        if names := _CREDENTIAL_NAMES.get(root):
            texts = (_text_at(self.credentials, name) for name in names)
            return next((text for text in texts if text is not None), None)
        if root in _REQUEST_NAMES:
            return getattr(self.request, root) if self.request else None
        match root:
            case "clientId":
                return self.client_id or _credential(self.credentials, "client_id")
            case "clientSecret":
                return self.client_secret or _credential(self.credentials, "client_secret")
            case _:
                return _moment(self.now, "iso") if root == "now" else None

    def _below(self, root: str, path: str) -> str | None:
        if root == "credentials":
            return _credential(self.credentials, path)
        if root == "now":
            return _moment(self.now, path)
        sources = {
            "connectionConfig": self.connection_config,
            "integrationConfig": self.integration_config,
            "metadata": self.metadata,
            **{f"step{number}": answer for number, answer in enumerate(self.steps, 1)},
        }
        source = sources.get(root)
        # An empty field of a form counts as not filled in, so that `a || b` goes on to `b`.
        return _text_at(source, path) or None if isinstance(source, Mapping) else None


def interpolate(template: str, variables: TemplateVariables) -> str | None:
    """Fill in a template.

    Returns:
        The text, or None when a name in it has no value.
    """
    for option in _split(template):
        if (value := _option(option.strip(), variables.lookup)) is not None:
            return value
    return None


def interpolate_url(template: str, variables: TemplateVariables) -> str | None:
    """Fill in the template of a URL whose host must not be moved by a value inside it.

    In `https://${connectionConfig.shop}.example.com` a value that would end the host early, such
    as `evil.test/`, leaves the template unresolved. A template that starts with a variable hands
    the whole URL to whoever fills it in.
    """
    for option in _split(template):
        text = option.strip()
        if (value := _option(text, _host_keeping_lookup(text, variables))) is not None:
            return value
    return None


def interpolate_json(template: JsonValue, variables: TemplateVariables) -> JsonValue:
    """Fill in every text of a JSON value; what does not resolve is left out of its mapping or list.

    Numbers, flags and keys stay as they are. A text of its own that does not resolve is None.
    """
    if isinstance(template, str):
        return interpolate(template, variables)
    if isinstance(template, list):
        return [
            filled for item in template if (filled := interpolate_json(item, variables)) is not None
        ]
    if isinstance(template, dict):
        filled_in = {name: interpolate_json(item, variables) for name, item in template.items()}
        return {name: filled for name, filled in filled_in.items() if filled is not None}
    return template


def variables_in(template: str) -> tuple[str, ...]:
    """Return the paths that a template names, in order, for messages about what is missing."""
    return tuple(dict.fromkeys(_NAMED.findall(template)))


def _host_keeping_lookup(template: str, variables: TemplateVariables) -> _Lookup:
    authority = _AUTHORITY.match(template)
    if authority is None:
        return variables.lookup
    in_host = variables_in(authority.group())

    def lookup(path: str) -> str | None:
        value = variables.lookup(path)
        moves_host = value is not None and path in in_host and _UNSAFE_IN_HOST.search(value)
        return None if moves_host else value

    return lookup


def _text_at(source: Mapping[str, JsonValue], path: str) -> str | None:
    value: JsonValue | Mapping[str, JsonValue] = source
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _credential(credentials: Mapping[str, JsonValue], path: str) -> str | None:
    """Return what stands at a path; `clientId` and `client_id` mean the same."""
    for name in dict.fromkeys((path, _snake_case(path), _camel_case(path))):
        if (value := _text_at(credentials, name)) is not None:
            return value
    return None


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _camel_case(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def _moment(now: datetime | None, form: str) -> str | None:
    if now is None:
        return None
    match form:
        case "iso":
            text = now.astimezone(UTC).isoformat(timespec="milliseconds")
            return text.replace("+00:00", "Z")
        case "seconds":
            return str(int(now.timestamp()))
        case "milliseconds":
            return str(int(now.timestamp() * 1000))
        case _:
            return None


def _option(text: str, lookup: _Lookup) -> str | None:
    done: list[str] = []
    position = 0
    while opening := _OPENING.search(text, position):
        end = _closing(text, opening)
        if end is None:
            break
        inner = text[opening.end() : end]
        helper = _helper(opening)
        value = _expression(inner, lookup) if helper is None else _helped(helper, inner, lookup)
        if value is None:
            return None
        done += text[position : opening.start()], value
        position = end + 1
    return "".join((*done, text[position:]))


def _expression(text: str, lookup: _Lookup) -> str | None:
    for choice in _split(text):
        name = choice.strip()
        opening = _OPENING.match(name)
        value: str | None
        if opening and (helper := _helper(opening)) and _closing(name, opening) == len(name) - 1:
            value = _helped(helper, name[opening.end() : -1], lookup)
        else:
            value = lookup(name) if _PATH.fullmatch(name) else None
        if value is not None:
            return value
    return None


def _helper(opening: re.Match[str]) -> str | None:
    """Return the name of the helper that was opened, None for `${`."""
    return None if opening.group() == "${" else opening.group()[:-1]


def _helped(helper: str, text: str, lookup: _Lookup) -> str | None:
    value = _option(text, lookup)
    return None if value is None else _HELPERS[helper](value)


def _closing(text: str, opening: re.Match[str]) -> int | None:
    """Return the index of the bracket that closes what was opened."""
    expected = ["}" if opening.group() == "${" else ")"]
    index = opening.end()
    while index < len(text):
        if inner := _OPENING.match(text, index):
            expected.append("}" if inner.group() == "${" else ")")
            index = inner.end()
            continue
        if text[index] == expected[-1]:
            expected.pop()
            if not expected:
                return index
        index += 1
    return None


@lru_cache(maxsize=1024)
def _split(text: str) -> tuple[str, ...]:
    """Split at each `||` that stands outside brackets.

    Kept, because the templates are few and each request fills them in anew.
    """
    parts: list[str] = []
    start = index = 0
    while index < len(text):
        if opening := _OPENING.match(text, index):
            end = _closing(text, opening)
            index = len(text) if end is None else end + 1
        elif text.startswith("||", index):
            parts.append(text[start:index])
            start = index = index + 2
        else:
            index += 1
    return (*parts, text[start:])
