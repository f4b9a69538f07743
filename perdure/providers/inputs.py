"""What people are asked for when they connect an account or set an integration up."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, JsonValue

from perdure.providers.fields import Entry

__all__ = ["InputField", "InputFields"]


_LONGEST = 4096
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}(?::|$)){_HOST}(?:\.{_HOST})*(?::\d{{1,5}})?")


def _nothing_is_empty(value: object) -> object:
    return {} if value is None else value


class InputField(Entry):
    """One thing to fill in.

    Attributes:
        type: Kind of value, `string` as a rule.
        title: Label.
        description: Help.
        example: A value as it may look.
        pattern: Regular expression that the value has to match.
        format: What the value is, such as `uri`, `hostname` or `email`.
        order: Place among the others; lower comes first, None last.
        default_value: Taken where nothing is filled in.
        prefix: Shown before the value; no part of it.
        suffix: Shown after the value; no part of it.
        optional: Nothing need be filled in.
        secret: Not to be shown again.
        hidden: Not shown to people at all.
        automated: Filled in by the engine: from the callback, the token or a hook.
        enum: The only values there are.
        doc_section: Section of the provider's guide that explains it.
        visible_when: On what other field's value it is asked for.
    """

    type: str = "string"
    title: str | None = None
    description: str | None = None
    example: JsonValue = None
    pattern: str | None = None
    format: str | None = None
    order: int | None = None
    default_value: JsonValue = None
    prefix: str | None = None
    suffix: str | None = None
    optional: bool = False
    secret: bool = False
    hidden: bool = False
    automated: bool = False
    enum: tuple[JsonValue, ...] | None = None
    doc_section: str | None = None
    visible_when: JsonValue = None

    @property
    def is_required(self) -> bool:
        """Whether something has to be filled in, whatever stands in other fields."""
        return not self.optional and self.visible_when is None

    def fault(self, value: JsonValue) -> str | None:
        """Return what is wrong with a value that was filled in, None if it may be taken.

        Formats other than `hostname`, `uri` and `email` are not looked at, nor is a pattern that
        is no regular expression here.
        """
        if self.enum is not None and value not in self.enum:
            return f"has to be one of {', '.join(map(str, self.enum))}"
        text = str(value)
        if len(text) > _LONGEST:
            return f"has more than {_LONGEST:,} characters"
        if self.pattern is not None and not _matches(self.pattern, text):
            return f"has to match {self.pattern}"
        fits, told = _FORMATS.get(self.format or "", (None, ""))
        return told if fits is not None and not fits(text) else None


def _matches(pattern: str, text: str) -> bool:
    # Without its last line break, `$` is the very end.
    if "\n" in text:
        return False
    try:
        return re.search(pattern, text) is not None
    except re.error:
        return True


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.username


_FORMATS: Mapping[str, tuple[Callable[[str], object], str]] = {
    "email": (
        re.compile(r"[^@\s]+@[^@\s]+").fullmatch,
        "has to be an e-mail address",
    ),
    "hostname": (_HOST_NAME.fullmatch, "has to be the name of a host, without https://"),
    "uri": (_is_url, "has to be an address with http:// or https://"),
}

_Inputs = Annotated[dict[str, InputField], BeforeValidator(_nothing_is_empty)]


class InputFields(Entry):
    """What is asked for, by name.

    Attributes:
        connection_config: Parameters of a connection, such as a subdomain; templates name them
            `${connectionConfig.<name>}`.
        credentials: Secrets of a connection; templates name them `${credentials.<name>}`.
        integration_config: Parameters of an integration, the same for all its connections;
            templates name them `${integrationConfig.<name>}`.
        assertion_option: Parameters of `assertion`.
    """

    connection_config: _Inputs = Field(default_factory=dict)
    credentials: _Inputs = Field(default_factory=dict)
    integration_config: _Inputs = Field(default_factory=dict)
    assertion_option: _Inputs = Field(default_factory=dict)
