"""What stands in for https://api.example.com while the how-tos are followed.

It is its own authorization server, too, at which everybody agrees.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

__all__ = ["KEY", "example_api"]

KEY = "key-of-acme"
_NAMES = ("Ada", "Grace", "Edsger", "Barbara", "Donald")


class _Api(ThreadingHTTPServer):
    """Contacts, invoices, projects and their tasks of one account."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contacts = {
            str(n): {"id": str(n), "name": name, "updated_at": "2026-01-01T00:00:00Z"}
            for n, name in enumerate(_NAMES, 1)
        }
        self.invoices = [{"id": str(n), "amount": 100 * n} for n in range(1, 6)]
        self.projects = [{"id": "apollo"}, {"id": "gemini"}, {"id": "mercury"}]
        self.made: dict[str, dict[str, Any]] = {}


class _Handler(BaseHTTPRequestHandler):
    server: _Api

    def do_GET(self) -> None:
        if self.path.startswith("/oauth/authorize?"):
            asked = parse_qs(urlsplit(self.path).query)
            granted = urlencode({"code": "granted", "state": asked["state"][0]})
            self._answer({}, {"Location": f"{asked['redirect_uri'][0]}?{granted}"}, status=302)
            return
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._answer({"error": "no such key"}, status=401)
            return
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path.strip("/").split("/"):
            case ["contacts"]:
                since = query.get("updated_since", "")
                changed = [c for c in self.server.contacts.values() if c["updated_at"] >= since]
                page, more = _page(changed, query.get("after", "0"))
                self._answer({"items": page, "next": more})
            case ["invoices"]:
                page, more = _page(self.server.invoices, query.get("page", "0"))
                link = f'<http://{self.headers["Host"]}/invoices?page={more}>; rel="next"'
                self._answer(page, {"Link": link} if more else {})
            case ["products"]:
                start, size = int(query["offset"]), int(query["limit"])
                products = [{"id": str(n)} for n in range(1, 6)]
                self._answer({"products": products[start : start + size]})
            case ["projects"]:
                self._answer({"items": self.server.projects, "next": None})
            case ["projects", project, "tasks"]:
                tasks = [{"id": f"{project}-{n}", "title": f"Task {n}"} for n in (1, 2)]
                self._answer({"items": tasks, "next": None})
            case _:
                self._answer({"error": "not found"}, status=404)

    def do_POST(self) -> None:
        if self.path == "/oauth/token":
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer({"access_token": KEY, "token_type": "Bearer", "expires_in": 3600})
            return
        key = self.headers.get("Idempotency-Key", str(len(self.server.made)))
        number = len(self.server.made) + len(self.server.invoices) + 1
        made = self.server.made.setdefault(key, {"id": str(number), **self._body()})
        self._answer(made, status=201)

    def do_PATCH(self) -> None:
        contact = self.server.contacts[self.path.rsplit("/", 1)[-1]]
        contact |= {**self._body(), "updated_at": "2099-01-01T00:00:00Z"}
        self._answer(contact)

    def do_DELETE(self) -> None:
        self._answer(self.server.contacts.pop(self.path.rsplit("/", 1)[-1]))

    def _body(self) -> dict[str, Any]:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return dict(json.loads(body or "{}"))

    def _answer(
        self, content: Any, headers: dict[str, str] | None = None, status: int = 200
    ) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


def _page(items: list[Any], after: str) -> tuple[list[Any], str | None]:
    start = int(after)
    more = str(start + 2) if start + 2 < len(items) else None
    return items[start : start + 2], more


@contextmanager
def example_api() -> Iterator[str]:
    """Serve a new account; gives the API's URL."""
    with _Api() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
