"""A local API that serves pages of issues, counts what it is asked for and can misbehave."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

PAGE = 100


class Source:
    """Issues behind cursor pagination; pages are numbered from 1.

    Attributes:
        records: What there is; tests change it between runs.
        served: How often each page was served with status 200.
        before: Called with the page number before it is served; may return another answer.
    """

    def __init__(self, server: HTTPServer, records: list[dict[str, object]]) -> None:
        self.server = server
        self.records = records
        self.served: Counter[int] = Counter()
        self.authorization: set[str] = set()
        self.before: Callable[[int], Response | None] = lambda _: None
        self._lock = threading.Lock()
        server.expect_request("/issues").respond_with_handler(self._issues)

    @property
    def url(self) -> str:
        return self.server.url_for("").rstrip("/")

    def _issues(self, request: Request) -> Response:
        page = int(request.args.get("cursor") or 1)
        answer = self.before(page)
        if answer is not None:
            return answer
        with self._lock:
            self.served[page] += 1
            self.authorization.add(request.headers.get("Authorization", ""))
        start = (page - 1) * PAGE
        items = self.records[start : start + PAGE]
        more = start + PAGE < len(self.records)
        body = {"items": items, "next": str(page + 1) if more else None}
        return Response(json.dumps(body), content_type="application/json")


def issues(count: int) -> list[dict[str, object]]:
    return [
        {"id": str(number), "title": f"Issue {number}", "labels": ["a", "b"], "number": number}
        for number in range(1, count + 1)
    ]
