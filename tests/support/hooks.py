"""Projects with hooks, and a local API that hooks call."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import dedent

from pytest_httpserver import HTTPServer, URIPattern
from werkzeug import Request, Response

from tests.support.project import ECHO, PAGINATED
from tests.support.source import Source, issues


class Below(URIPattern):
    """Every path below another one."""

    def __init__(self, start: str) -> None:
        self._start = start

    def match(self, uri: str) -> bool:
        return uri.startswith(self._start)


EVENTS = {
    "validate": "validate-connection",
    "create": "post-connection-creation",
    "delete": "pre-connection-deletion",
}

CALLING = """
async def on_event(nango):
    await nango.get(endpoint="/hooks/{name}")
"""


def calling(name: str) -> str:
    """A hook that calls `/hooks/<name>`."""
    return CALLING.format(name=name)


def with_hooks(
    *,
    validate: Sequence[str] = (),
    create: Sequence[str] = (),
    delete: Sequence[str] = (),
    scripts: Mapping[str, str] | None = None,
    sync: str = PAGINATED,
    auto_start: bool = False,
) -> dict[str, str]:
    """A project whose integration `tracker` has hooks; each calls `/hooks/<name>` unless given."""
    named = {"validate": validate, "create": create, "delete": delete}
    lines = ["integrations:", "  tracker:", "    syncs:", "      issues:"]
    lines += ["        runs: every day", "        sync_type: full", "        output: Issue"]
    lines += ["        endpoint: GET /issues", f"        auto_start: {str(auto_start).lower()}"]
    lines += ["    actions:", "      echo: {endpoint: POST /echo}", "    on-events:"]
    lines += [f"      {EVENTS[kind]}: [{', '.join(names)}]" for kind, names in named.items()]
    lines += ["models:", "  Issue: {id: string, title: string}"]
    files = {
        "nango.yaml": "\n".join(lines),
        "tracker/syncs/issues.py": dedent(sync),
        "tracker/actions/echo.py": ECHO,
    }
    for names in named.values():
        for name in names:
            source = (scripts or {}).get(name, calling(name))
            files[f"tracker/on-events/{name}.py"] = dedent(source)
    return files


class HookTarget:
    """What hooks call.

    Attributes:
        calls: Names in the order in which they came.
        keys: The API keys that were used, by name.
        answers: Status of the answer by name, 200 where it is not given.
        held: Names whose answer waits until `release` is called.
        source: The issues, for syncs.
    """

    def __init__(self, server: HTTPServer) -> None:
        self.calls: list[str] = []
        self.keys: dict[str, list[str]] = {}
        self.answers: dict[str, int] = {}
        self.held: set[str] = set()
        self._release = threading.Event()
        self._lock = threading.Lock()
        server.expect_request(Below("/hooks/")).respond_with_handler(self._called)
        self.url = server.url_for("").rstrip("/")
        self.source = Source(server, issues(3))

    @property
    def counted(self) -> Counter[str]:
        return Counter(self.calls)

    def release(self) -> None:
        """Answer what is held, and hold nothing any more."""
        self.held.clear()
        self._release.set()

    def _called(self, request: Request) -> Response:
        name = request.path.removeprefix("/hooks/")
        with self._lock:
            self.calls.append(name)
            self.keys.setdefault(name, []).append(request.headers.get("Authorization", ""))
        if name in self.held:
            self._release.wait(120)
        return Response("{}", self.answers.get(name, 200), content_type="application/json")


@contextmanager
def hook_target() -> Iterator[HookTarget]:
    """Serve what hooks call, several at once: an answer that is held holds up no other."""
    server = HTTPServer(host="127.0.0.1", threaded=True)
    server.start()
    target = HookTarget(server)
    try:
        yield target
    finally:
        target.release()
        server.stop()
