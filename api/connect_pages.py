"""Pages for end users: rendered here, with nothing that comes from elsewhere but plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from api.errors import status_of
from perdure.errors import CredentialsError, NotFoundError, PerdureError, UpstreamError
from perdure.providers.inputs import InputField
from perdure.providers.provider import AuthMode, Provider

__all__ = [
    "PAGE_HEADERS",
    "FormField",
    "failure_page",
    "form_fields",
    "form_page",
    "list_page",
    "success_page",
]

log = structlog.get_logger(__name__)

_PAGES = Environment(
    loader=PackageLoader("api", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
PAGE_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    # The application may show the pages in a frame of its own; nothing from elsewhere is loaded.
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "base-uri 'none'"
    ),
}
"""Headers of pages, whose addresses may hold the token of a session."""


@dataclass(frozen=True, slots=True)
class FormField:
    """One thing to fill in.

    Attributes:
        name: As it is sent.
        label: Title for people.
        help: A sentence about it.
        kind: `text` or `password`.
        example: What it may look like.
        required: Whether it must be filled in.
        pattern: Regular expression that it must match, None for anything.
        value: What it begins with.
        prefix: Shown before it.
        suffix: Shown after it.
        options: The only values there are; empty for any.
    """

    name: str
    label: str
    help: str = ""
    kind: str = "text"
    example: str = ""
    required: bool = True
    pattern: str | None = None
    value: str = ""
    prefix: str = ""
    suffix: str = ""
    options: tuple[str, ...] = ()


_TYPED: dict[AuthMode, tuple[FormField, ...]] = {
    AuthMode.API_KEY: (FormField("apiKey", "API key", kind="password"),),
    AuthMode.BASIC: (
        FormField("username", "User name"),
        FormField("password", "Password", kind="password", required=False),
    ),
    AuthMode.SIGNATURE: (
        FormField("username", "User name"),
        FormField("password", "Password", kind="password"),
    ),
    AuthMode.OAUTH2_CC: (
        FormField("client_id", "Client id"),
        FormField("client_secret", "Client secret", kind="password"),
    ),
    AuthMode.TBA: (
        FormField("token_id", "Token id", kind="password"),
        FormField("token_secret", "Token secret", kind="password"),
    ),
}


def form_fields(
    provider: Provider, known: Mapping[str, Any], sent: Mapping[str, str]
) -> list[FormField]:
    """Return what people are asked for to connect an account of a provider.

    Args:
        provider: Entry of the provider.
        known: Parameters that the application has said already; they are not asked for.
        sent: What was filled in before, and is shown again unless it is a secret.
    """
    return [
        replace(field, value=sent[field.name])
        if field.kind == "text" and field.name in sent
        else field
        for field in _asked(provider, known)
    ]


def _asked(provider: Provider, known: Mapping[str, Any]) -> list[FormField]:
    asked = [
        _field(f"params[{name}]", name, field)
        for name, field in _ordered(provider.connection_config)
        if name not in known
    ]
    if provider.auth_mode in _TYPED:
        worded = provider.credentials
        return asked + [
            _worded(field, worded.get(field.name)) for field in _TYPED[provider.auth_mode]
        ]
    # Where the entry tells secrets from what is none, it is taken at its word.
    unsaid = not any(field.secret for field in provider.credentials.values())
    return asked + [
        _field(name, name, field, is_secret=unsaid)
        for name, field in _ordered(provider.credentials)
    ]


def list_page(token: str, integrations: Sequence[tuple[str, str]]) -> HTMLResponse:
    """Return the page on which an end user picks an integration.

    Args:
        token: Token of the session.
        integrations: Keys and names for people.
    """
    return _page("connect_list.html", 200, token=token, integrations=integrations)


def form_page(
    token: str,
    unique_key: str,
    name: str,
    provider: Provider,
    fields: Sequence[FormField],
    *,
    docs: str | None,
    error: str | None = None,
) -> HTMLResponse:
    """Return the page on which an end user fills in what an account needs.

    Args:
        token: Token of the session.
        unique_key: Key of the integration.
        name: Its name for people.
        provider: Entry of the provider.
        fields: What is asked for.
        docs: Page that helps to connect an account.
        error: What was wrong with what was sent.
    """
    leaves = provider.auth_mode in (AuthMode.OAUTH1, AuthMode.OAUTH2, AuthMode.APP)
    return _page(
        "connect_form.html",
        400 if error else 200,
        token=token,
        unique_key=unique_key,
        name=name,
        fields=fields,
        docs=docs if docs and docs.startswith(("https://", "http://")) else None,
        error=error,
        leaves=leaves,
    )


def success_page(unique_key: str, connection_id: str) -> HTMLResponse:
    """Return the page that says that an account is connected, and tells its opener."""
    return _page("connect_done.html", 200, unique_key=unique_key, connection_id=connection_id)


def failure_page(error: PerdureError) -> HTMLResponse:
    """Return the page that says why an account was not connected."""
    match error:
        # A browser knows no failed dependency.
        case UpstreamError() | CredentialsError():
            status = 502
        case NotFoundError():
            status = 404
        case _:
            status = status_of(error)
    message = error.message
    if status == 500:
        # What is said of our insides is for the log.
        log.error("connect_page_failed", code=error.code, exc_info=error)
        message = "Something failed on our side. Please try again later."
    return _page("connect_failed.html", status, code=error.code, message=message)


def _page(template: str, status: int, **values: Any) -> HTMLResponse:
    text = _PAGES.get_template(template).render(**values)
    return HTMLResponse(text, status_code=status, headers=PAGE_HEADERS)


def _ordered(fields: dict[str, InputField]) -> list[tuple[str, InputField]]:
    shown = [(name, field) for name, field in fields.items() if not _is_hidden(field)]
    return sorted(shown, key=lambda item: (item[1].order is None, item[1].order or 0))


def _is_hidden(field: InputField) -> bool:
    return field.automated or field.hidden


def _field(sent: str, name: str, field: InputField, *, is_secret: bool = False) -> FormField:
    return FormField(
        name=sent,
        label=field.title or name,
        help=field.description or "",
        kind="password" if field.secret or is_secret else "text",
        example="" if field.example is None else str(field.example),
        required=field.is_required,
        pattern=field.pattern,
        value="" if field.default_value is None else str(field.default_value),
        prefix=field.prefix or "",
        suffix=field.suffix or "",
        options=tuple(str(option) for option in field.enum or ()),
    )


def _worded(field: FormField, words: InputField | None) -> FormField:
    """Return a field with the words that the provider's entry has for it."""
    if words is None:
        return field
    worded = _field(field.name, field.label, words)
    return FormField(
        name=field.name,
        label=words.title or field.label,
        help=worded.help,
        kind=field.kind,
        example=worded.example,
        required=field.required and worded.required,
        pattern=worded.pattern,
    )
