"""What people are asked for when they connect an account or set an integration up."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue

from perdure.providers.fields import Entry

__all__ = ["InputField", "InputFields"]


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
