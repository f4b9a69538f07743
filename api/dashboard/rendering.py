"""Turns what pages know into HTML. All that comes from elsewhere is plain text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from api.dashboard.calls import path_of
from perdure._version import __version__
from perdure.clock import utcnow

__all__ = ["HEADERS", "Page", "asset_url", "page_url", "pretty", "render", "render_live"]

HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
"""Headers of every page."""

_LIVE = "live"
"""Name of the block of a template that is kept true while its page is open."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows.

    Attributes:
        template: Name of its template.
        title: What the browser's tab says.
        values: What the template knows.
        status: Status of the answer.
        is_busy: Whether something on it is under way, so that it changes within seconds.
    """

    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    is_busy: bool = False


def asset_url(name: str) -> str:
    """Return the address of a file of the pages, another one for each release."""
    return f"/dashboard/assets/{name}?v={__version__}"


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment as people see it.

    Attributes:
        iso: For programs.
        exact: For those who point at it.
        shown: How far it is away; the browser keeps that true.
    """

    iso: str
    exact: str
    shown: str


def _moment(text: str) -> Moment:
    at = datetime.fromisoformat(text)
    seconds = (utcnow() - at).total_seconds()
    shown = f"{_span(seconds)} ago" if seconds >= 0 else f"in {_span(-seconds)}"
    return Moment(at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S UTC"), shown)


def _span(seconds: float | None) -> str:
    """Show seconds as people say them."""
    if seconds is None:
        return "—"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    for index, (size, name) in enumerate(units):
        if seconds >= size:
            whole = int(seconds // size)
            rest = int(seconds % size // units[index + 1][0]) if index + 1 < len(units) else 0
            more = f" {rest} {units[index + 1][1]}" if rest and whole < 10 else ""
            return f"{whole} {name}{more}"
    return "0 s"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:,}"


def pretty(value: object) -> str:
    """Return JSON as people read it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def page_url(*parts: str, **query: Any) -> str:
    """Return the address of a page of the dashboard."""
    asked = {name: value for name, value in query.items() if value not in (None, "")}
    path = f"/dashboard{path_of(*parts) or '/'}"
    return f"{path}?{urlencode(asked, doseq=True)}" if asked else path


_PAGES = Environment(
    loader=PackageLoader("api", "templates/dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters.update(moment=_moment, span=_span, number=_number, pretty=pretty)
_PLACES = (
    ("", "Overview", "o"),
    ("integrations", "Integrations", "i"),
    ("connections", "Connections", "c"),
    ("syncs", "Syncs", "s"),
    ("runs", "Runs", "r"),
    ("logs", "Logs", "l"),
    ("records", "Records", "d"),
    ("actions", "Actions", "a"),
    ("webhooks", "Webhooks", "w"),
    ("deployments", "Deployments", "p"),
    ("settings", "Settings", "e"),
)
_PAGES.globals.update(href=page_url, asset_url=asset_url, places=_PLACES)


def render(page: Page, common: Mapping[str, Any]) -> str:
    """Return a page as HTML.

    Args:
        page: What it shows.
        common: What all templates know.
    """
    template = _PAGES.get_template(page.template)
    return template.render({**common, **page.values, "title": page.title, "is_busy": page.is_busy})


def render_live(page: Page, common: Mapping[str, Any]) -> str:
    """Return the part of a page that is kept true, nothing where it has none."""
    template = _PAGES.get_template(page.template)
    part = template.blocks.get(_LIVE)
    if part is None:
        return ""
    return "".join(part(template.new_context({**common, **page.values, "title": page.title})))
