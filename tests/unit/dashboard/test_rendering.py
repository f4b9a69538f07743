"""Pages: addresses that hold anything, times as people say them, text that stays text."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from api.dashboard.rendering import Page, page_url, render, render_live
from perdure.clock import utcnow

COMMON = {"token": "t", "path": "/dashboard/runs/r1", "query": {}, "said": None}
MISSING = {"title": "Not found", "message": "<b>no</b>", "status": 404}


def shown(moment: timedelta, now: datetime) -> str:
    """How the page of deployments shows one that was made then."""
    at = (now + moment).isoformat()
    made = {"id": 1, "bundle": "b" * 64, "created_at": at, "reconciled_at": at}
    html = render_live(Page("deployments.html", "", {"deployments": [made]}), COMMON)
    return html.split("</time>")[0].rsplit(">", 1)[1]


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (timedelta(seconds=-75), "1 min 15 s ago"),
        (timedelta(hours=-30), "1 d 6 h ago"),
        (timedelta(days=-40), "40 d ago"),
        (timedelta(hours=2, seconds=30), "in 2 h"),
    ],
)
def test_times_are_told_as_people_say_them(
    monkeypatch: pytest.MonkeyPatch, moment: timedelta, text: str
) -> None:
    now = utcnow()
    monkeypatch.setattr("api.dashboard.rendering.utcnow", lambda: now)

    assert shown(moment, now) == text


@pytest.mark.parametrize("name", ["syncs", "runs"])
def test_run_that_waits_is_shown_so_in_every_list(name: str) -> None:
    at = utcnow().isoformat()
    run = {
        **dict.fromkeys(("id", "run_id", "integration", "connection_id", "script", "name"), "x"),
        **dict.fromkeys(("started_at", "last_sync_date"), at),
        "variant": "base",
        "kind": "sync",
        "dry_run": False,
        "duration_s": 1.0,
        "counts": {},
        "status": "running",
        "waiting": {"reason": "503", "attempt": 2, "next_attempt_at": None},
    }
    values = {name: [run], "next_cursor": None, "wanted": {}}
    html = render_live(Page(f"{name}.html", "", values), COMMON)
    assert ">waiting</span>" in html
    assert ">running</span>" not in html


def test_address_of_a_page_holds_any_name() -> None:
    assert page_url() == "/dashboard/"
    assert page_url("connections", "a/b", "c d?") == "/dashboard/connections/a%2Fb/c%20d%3F"
    assert page_url("runs", status=None, script="x&y") == "/dashboard/runs?script=x%26y"


def test_text_from_elsewhere_is_escaped() -> None:
    html = render(Page("failure.html", "Not found", MISSING), COMMON)
    assert "<b>no</b>" not in html
    assert "&lt;b&gt;no&lt;/b&gt;" in html


def test_place_of_the_page_is_marked_in_the_navigation() -> None:
    html = render(Page("failure.html", "Not found", MISSING), COMMON)
    current = [line for line in html.splitlines() if 'aria-current="page"' in line]
    assert len(current) == 1
    assert ">Runs</a>" in current[0]


def test_live_part_is_the_same_as_in_the_whole_page() -> None:
    page = Page("deployments.html", "Deployments", {"deployments": []})
    assert render_live(page, COMMON).strip() in render(page, COMMON)
