"""How a provider's webhooks are verified, told apart and attributed, as data.

The rules stand under `webhook:` in the entry of a provider; an integration may state rules of its
own, which take the place of the provider's, mapping by mapping. Most fields are templates:

    ${body}            the body as it came; in signed texts only
    ${body.<path>}     what stands at a dotted path of the decoded body
    ${headers.<name>}  a header
    ${query.<name>}    a parameter of the query
    ${signature.<k>}   a part `k=v` of the signature's header
    ${timestamp}       the moment the provider signed, as it wrote it
    ${method}  ${uri}  ${decoded_uri}

A template with a part that has no value has none itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic import ValidationError as PydanticError

from perdure.errors import FieldError, InvalidInputError

__all__ = [
    "TEMPLATE_PART",
    "ChallengeRule",
    "ConnectionRules",
    "MatchRule",
    "SignatureRule",
    "TimestampRule",
    "WebhookRules",
    "merged",
    "webhook_rules",
]

TEMPLATE_PART = re.compile(r"\$\{([^}]*)\}")
"""A name in a template."""

_NAME = re.compile(
    r"(body|method|uri|decoded_uri|timestamp"
    r"|body\..+|headers\.[\w-]+|query\.[^.\s]+|signature\.\w+)"
)
_FIELD = r"^(connection_id|(metadata|connection_config)\..+)$"


def _known(template: str) -> str:
    for name in TEMPLATE_PART.findall(template):
        if not _NAME.fullmatch(name):
            msg = f"${{{name}}} names nothing of a webhook"
            raise ValueError(msg)
    return template


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


HeaderName = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1)]
Template = Annotated[str, AfterValidator(_known)]
Templates = Annotated[tuple[Template, ...], BeforeValidator(_one_or_many)]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class TimestampRule(_Rule):
    """How old a signature may be.

    Attributes:
        value: The moment it was made: a number since 1970.
        unit: Of that number.
        tolerance: Seconds that it may differ from our clock.
    """

    value: Template
    unit: Literal["seconds", "milliseconds"] = "seconds"
    tolerance: float = Field(default=300, gt=0)


class SignatureRule(_Rule):
    """What proves that a webhook is the provider's.

    Attributes:
        header: Header with the signature.
        algorithm: The HMAC.
        encoding: How the signature is written.
        prefix: What stands before each signature.
        separator: What stands between the header's parts, None where it is one. One signature
            that fits is enough; parts without the prefix are no signatures.
        signed: What is signed; of several forms one has to fit.
        key_encoding: How the secret is written.
        key_prefix: What stands before it.
        timestamp: How old a signature may be, None where nothing says when it was made.
    """

    header: HeaderName
    algorithm: Literal["hmac-sha256", "hmac-sha1"] = "hmac-sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    separator: Annotated[str, Field(min_length=1)] | None = None
    signed: Templates = ("${body}",)
    key_encoding: Literal["text", "hex", "base64"] = "text"
    key_prefix: str = ""
    timestamp: TimestampRule | None = None


class ChallengeRule(_Rule):
    """A request that only asks whether we are there; it is answered and goes no further.

    Attributes:
        when: Has a value in such requests.
        equals: The value it has, None for any.
        answer: What is answered, as text.
        signed: Whether such requests are signed.
        keeps_secret: What the integration keeps as its webhook secret, where it has none yet.
    """

    when: Template
    equals: str | None = None
    answer: Template = ""
    signed: bool = True
    keeps_secret: Template | None = None


class MatchRule(_Rule):
    """How a webhook names the connection that it concerns.

    Attributes:
        field: `connection_id`, `metadata.<path>` or `connection_config.<path>`.
        value: What it has to be.
        without: An ending of the value that the field does not have.
    """

    field: Annotated[str, Field(pattern=_FIELD)]
    value: Template
    without: str = ""


class ConnectionRules(_Rule):
    """Which connections a webhook concerns.

    Attributes:
        match: The first one counts whose value the webhook has.
        otherwise: Whom a webhook concerns that has none of the values.
    """

    match: tuple[MatchRule, ...] = ()
    otherwise: Literal["all", "none"] = "all"


class WebhookRules(_Rule):
    """The rules of a provider or an integration.

    Attributes:
        signature: What proves a webhook; None accepts any.
        challenges: Requests that are answered and go no further.
        form_field: Field of a form that holds the webhook as JSON; without it a form is the
            webhook itself.
        items: Path of a list in the body whose elements are webhooks of their own, empty for the
            body itself; None where the body is one.
        delivery_id: Names a delivery, so that a repetition is known; the first that has a value.
        types: The names of its type that `webhook-subscriptions` may use.
        connections: Whom it concerns.
        query: Parameters of the query that are kept.
    """

    signature: SignatureRule | None = None
    challenges: tuple[ChallengeRule, ...] = ()
    form_field: str | None = None
    items: str | None = None
    delivery_id: Templates = ()
    types: Templates = ()
    connections: ConnectionRules = ConnectionRules()
    query: Annotated[tuple[str, ...], BeforeValidator(_one_or_many)] = ()


def webhook_rules(
    provider: WebhookRules | None, own: Mapping[str, Any] | None
) -> WebhookRules | None:
    """Return the rules of an integration, None where there are none.

    Args:
        provider: Those of its provider.
        own: Its own.

    Raises:
        InvalidInputError: They are not valid; each fault is named.
    """
    if own is None:
        return provider
    base = provider.model_dump(exclude_unset=True) if provider else {}
    try:
        return WebhookRules.model_validate(merged(base, own))
    except PydanticError as error:
        faults = [
            FieldError(fault["type"], fault["msg"], ("webhook_rules", *fault["loc"]))
            for fault in error.errors()
        ]
        msg = "The webhook rules are not valid; see `errors`."
        raise InvalidInputError(msg, errors=faults) from error


def merged(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with what another one states in its place, mapping by mapping."""
    result = dict(base)
    for key, value in override.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result
