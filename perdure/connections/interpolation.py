"""Templates of provider entries: `Bearer ${apiKey}`, `https://${connectionConfig.shop}.example.com`.

A template may name what stands in `TemplateVariables` and nothing else; there is no evaluation.

    template     = option *("||" option)          the first option that resolves wins
    option       = *(text / "${" expression "}" / "base64(" option ")")
    expression   = choice *("||" choice)
    choice       = "base64(" option ")" / path
    path         = "connectionConfig." name / "credentials." name / "apiKey" / "username" /
                   "password" / "accessToken"

A template with a path that has no value resolves to None: the header or query parameter it was
for is then not sent.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

__all__ = ["TemplateVariables", "interpolate", "interpolate_url", "variables_in"]

_CREDENTIAL_NAMES = frozenset({"apiKey", "username", "password", "accessToken"})
_PATH = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
_OPENING = re.compile(r"\$\{|\bbase64\(")
_NAMED = re.compile(r"(?:\$\{|\|\|)\s*([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*(?=\}|\|\|)")
_AUTHORITY = re.compile(r"https?://[^/]*", re.IGNORECASE)
_UNSAFE_IN_HOST = re.compile(r"[/?#@\\\s]")

_Lookup = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class TemplateVariables:
    """What templates may name.

    Attributes:
        connection_config: Parameters of the connection, such as a subdomain.
        credentials: Revealed credentials.
    """

    connection_config: Mapping[str, JsonValue] = field(default_factory=dict)
    credentials: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)

    def lookup(self, path: str) -> str | None:
        """Return the text at a path, None when there is none or the path is not allowed."""
        root, _, rest = path.partition(".")
        if root == "connectionConfig" and rest:
            # An empty form field counts as not filled in, so that `a || b` goes on to `b`.
            return _text_at(self.connection_config, rest) or None
        if root == "credentials" and rest:
            return _text_at(self.credentials, rest)
        if root in _CREDENTIAL_NAMES and not rest:
            return _text_at(self.credentials, root)
        return None


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


def _option(text: str, lookup: _Lookup) -> str | None:
    done: list[str] = []
    position = 0
    while opening := _OPENING.search(text, position):
        is_helper = opening.group() == "base64("
        end = _closing(text, opening.end(), ")" if is_helper else "}")
        if end is None:
            break
        inner = text[opening.end() : end]
        value = _base64(inner, lookup) if is_helper else _expression(inner, lookup)
        if value is None:
            return None
        done += text[position : opening.start()], value
        position = end + 1
    return "".join((*done, text[position:]))


def _expression(text: str, lookup: _Lookup) -> str | None:
    for choice in _split(text):
        name = choice.strip()
        if name.startswith("base64(") and name.endswith(")"):
            value = _base64(name.removeprefix("base64(").removesuffix(")"), lookup)
        else:
            value = lookup(name) if _PATH.fullmatch(name) else None
        if value is not None:
            return value
    return None


def _base64(text: str, lookup: _Lookup) -> str | None:
    value = _option(text, lookup)
    return None if value is None else base64.b64encode(value.encode()).decode("ascii")


def _closing(text: str, start: int, bracket: str) -> int | None:
    """Return the index of the bracket that closes what was opened before `start`."""
    expected = [bracket]
    for index in range(start, len(text)):
        if text.startswith("${", index):
            expected.append("}")
        elif text.startswith("base64(", index):
            expected.append(")")
        elif text[index] == expected[-1]:
            expected.pop()
            if not expected:
                return index
    return None


def _split(text: str) -> Iterator[str]:
    """Split at each `||` that stands outside brackets."""
    start = index = 0
    while index < len(text):
        if opening := _OPENING.match(text, index):
            end = _closing(text, opening.end(), ")" if opening.group() == "base64(" else "}")
            index = len(text) if end is None else end + 1
        elif text.startswith("||", index):
            yield text[start:index]
            start = index = index + 2
        else:
            index += 1
    yield text[start:]
