"""The client that reads pages of records for the benchmark reads all of them, and in turns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from bench.record_pages import _in_turns, _OverHttp

PAGES = {None: "second", "second": 'th"ird', 'th"ird': None}


class Records(BaseHTTPRequestHandler):
    """Answers pages of a few megabytes, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str | None, str]]

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        cursor = query.get("cursor", [None])[0]
        self.asked.append((cursor, self.headers["connection-id"]))
        body = json.dumps({"next_cursor": PAGES[cursor], "records": ["x" * 3_000_000]})
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.replace(": ", ":").encode().ljust(len(body)))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    Records.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Records) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_pages_are_followed_to_the_last_one_and_begun_anew(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_SECRET_KEY", "k")
    client = _OverHttp(address, "pages", 1000)

    for _ in range(4):
        await client.ask()
    client.close()

    assert [cursor for cursor, _ in Records.asked] == [None, "second", 'th"ird', None]
    assert {connection for _, connection in Records.asked} == {"pages"}


async def test_who_is_asked_first_changes_with_each_turn() -> None:
    asked = ""

    async def http() -> None:
        nonlocal asked
        asked += "h"

    async def raw() -> None:
        nonlocal asked
        asked += "r"

    took = await _in_turns(http, raw, 4)

    assert asked[-8:] == "rhhrrhhr"
    assert {name: len(times) for name, times in took.items()} == {"http": 4, "raw": 4}
