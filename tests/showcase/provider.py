"""A provider with several accounts, on this machine, which misbehaves when told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["ShowcaseProvider", "showcase_provider"]

_PAGE = 40
_PEOPLE = ("ada", "grace", "linus", "barbara", "edsger", "margaret", "donald", "radia")
_SUBJECTS = (
    "Login fails after the session was renewed",
    "Export as CSV loses umlauts",
    "Dark mode for the settings page",
    "Retries are not shown in the log",
    "Pagination skips a page when records are deleted",
    "Add a shortcut for search",
    "Tooltip covers the save button",
    "Support several accounts for each user",
)
_CITIES = ("Lisbon", "Oslo", "Kyoto", "Austin", "Nairobi", "Graz", "Cork", "Lima")


def _issue(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "title": _SUBJECTS[number % len(_SUBJECTS)],
        "state": "closed" if number % 3 == 0 else "open",
        "user": {"login": _PEOPLE[number % len(_PEOPLE)]},
        "labels": ["bug"] if number % 2 else ["feature", "wanted"],
        "comments": number % 7,
    }


def _pull(number: int) -> dict[str, Any]:
    people = [{"login": _PEOPLE[number % len(_PEOPLE)]}]
    return {"id": number, "title": _SUBJECTS[number % 8], "requested_reviewers": people}


def _contact(number: int) -> dict[str, Any]:
    name = _PEOPLE[number % len(_PEOPLE)]
    return {"id": str(number), "name": name.title(), "email": f"{name}.{number}@example.com"}


def _company(number: int) -> dict[str, Any]:
    return {
        "id": str(number),
        "name": f"{_CITIES[number % 8]} Works {number}",
        "city": _CITIES[number % 8],
        "employees": number * 7 % 400,
    }


def _invoice(number: int) -> dict[str, Any]:
    return {
        "id": f"in_{number:05}",
        "customer": _PEOPLE[number % 8].title(),
        "amount": number * 1_290 % 90_000,
        "currency": "eur",
        "paid": number % 5 != 0,
    }


_MAKERS = {
    "issues": _issue,
    "pulls": _pull,
    "contacts": _contact,
    "companies": _company,
    "invoices": _invoice,
}


@dataclass
class ShowcaseProvider:
    """What the provider has, and how it behaves; each account is a part of the address.

    Attributes:
        sizes: How many things of each kind there are, by account and kind; 120 where nothing is
            said.
        limited: Accounts that are asked to wait, with the seconds.
        slow: Seconds that a page takes, by account.
        unassigned: Accounts with a pull request that nobody was asked to review.
    """

    url: str
    sizes: dict[tuple[str, str], int] = field(default_factory=dict)
    limited: dict[str, int] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    unassigned: set[str] = field(default_factory=set)

    def account(self, name: str) -> str:
        """Base URL of an account."""
        return f"{self.url}/{name}"

    def answer(
        self, method: str, path: str, body: dict[str, Any]
    ) -> tuple[int, dict[str, str], Any]:
        """Return status, headers and body for a request."""
        parts = urlsplit(path)
        account, kind, *rest = [*parts.path.strip("/").split("/"), ""]
        if account in self.limited:
            headers = {"retry-after": str(self.limited[account])}
            return 429, headers, {"message": "API rate limit exceeded"}
        if kind == "user":
            return 200, {}, {"login": account, "plan": "team"}
        if method == "POST" and kind == "issues":
            if not body.get("title"):
                return 422, {}, {"message": "title is missing"}
            return 201, {}, self._made(body)
        if method == "PATCH":
            return 200, {}, {}
        if kind == "issues" and rest[0]:
            return 200, {}, {"id": rest[0], "state": "closed" if rest[0] == "3" else "open"}
        if kind not in _MAKERS:
            return 404, {}, {"message": "Not Found"}
        return (
            200,
            {},
            self._page(account, kind, int(parse_qs(parts.query).get("cursor", ["0"])[0])),
        )

    def _page(self, account: str, kind: str, start: int) -> dict[str, Any]:
        time.sleep(self.slow.get(account, 0))
        size = self.sizes.get((account, kind), 120)
        items = [_MAKERS[kind](number + 1) for number in range(start, min(start + _PAGE, size))]
        if kind == "pulls" and account in self.unassigned and start == _PAGE:
            items[0]["requested_reviewers"] = []
        return {"items": items, "next": start + _PAGE if start + _PAGE < size else None}

    def _made(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": "4711",
            "title": body["title"],
            "state": "open",
            "author": "ada",
            "labels": body.get("labels", []),
            "comments": 0,
        }


@contextmanager
def showcase_provider() -> Iterator[ShowcaseProvider]:
    """Run the provider, which takes webhooks of ours at `/app`, too."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    provider = ShowcaseProvider(f"http://127.0.0.1:{server.server_port}")
    server.provider = provider
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _respond(self) -> None:
        provider: ShowcaseProvider = self.server.provider
        sent = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            body = json.loads(sent) if sent else {}
        except ValueError:
            body = {}
        if self.path == "/app":
            status, headers, answer = 200, {}, {}
        else:
            status, headers, answer = provider.answer(self.command, self.path, body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = _respond

    def log_message(self, *_: object) -> None:
        """Say nothing."""
