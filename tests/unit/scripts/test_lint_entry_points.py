"""What the engine calls must be there, and must be callable."""

from __future__ import annotations

import pytest

from perdure.scripts.bundle import ScriptKind
from perdure.scripts.lint import DeclaredScript, LintCode
from tests.unit.scripts.lints import ACTION, SYNC, action, lint, lint_sync, said, sync

GOOD = [
    "async def fetch_data(nango): ...",
    "async def fetch_data(n, limit=5, *rest, **more): ...",
    "async def fetch_data(*args): ...",
    "async def fetch_data(nango, /, *, limit=5): ...",
    "fetch_data = make()",
    "from somewhere import fetch_data",
    "from somewhere import *",
    "from shared.impl import run as fetch_data",
    "@decorated\ndef fetch_data(): ...",
    "class fetch_data: ...",
    "if True:\n    async def fetch_data(nango): ...",
    "try:\n    async def fetch_data(nango): ...\nexcept Exception:\n    raise",
    "async def fetch_data(nango):\n    def inner():\n        yield 1\n    inner()",
]

BAD = [
    ("", LintCode.NO_ENTRY_POINT, 1, "that is where its run begins"),
    ("x = 1\nasync def fetch(nango): ...", LintCode.NO_ENTRY_POINT, 2, "rename `fetch`"),
    ("async def fetchData(nango): ...", LintCode.NO_ENTRY_POINT, 1, "rename `fetchData`"),
    ("class A:\n    async def fetch_data(nango): ...", LintCode.NO_ENTRY_POINT, 1, "begins"),
    ("x = 1\ndef fetch_data(nango): ...", LintCode.ENTRY_POINT, 2, "async def fetch_data(nango)"),
    ("async def fetch_data(): ...", LintCode.ENTRY_POINT, 1, "async def fetch_data(nango)"),
    ("async def fetch_data(nango, b): ...", LintCode.ENTRY_POINT, 1, "async def"),
    ("async def fetch_data(nango, *, b): ...", LintCode.ENTRY_POINT, 1, "async def"),
    ("async def fetch_data(nango):\n    yield 1", LintCode.ENTRY_POINT, 1, "batch_save"),
    ("from shared.impl import plain as fetch_data", LintCode.ENTRY_POINT, 2, "async def"),
]
IMPL = "async def run(nango): ...\ndef plain(nango): ...\n"


@pytest.mark.parametrize("text", GOOD)
def test_sync_that_can_be_called_is_fine(text: str) -> None:
    assert lint_sync(text, **{"shared/impl.py": IMPL}) == []


@pytest.mark.parametrize(("text", "code", "line", "hint"), BAD)
def test_sync_that_cannot_be_called_is_refused(
    text: str, code: LintCode, line: int, hint: str
) -> None:
    [found] = lint_sync(text, **{"shared/impl.py": IMPL})

    assert (found.code, found.line, found.severity) == (code, line, "error")
    assert hint in (found.hint or "")


@pytest.mark.parametrize(
    ("parameters", "takes_input", "codes"),
    [
        ("nango, input", True, []),
        ("nango, input", False, []),
        ("nango, input=None", True, []),
        ("nango", False, []),
        ("nango", True, [LintCode.INPUT_IGNORED]),
        ("", False, [LintCode.ENTRY_POINT]),
        ("nango, input, more", True, [LintCode.ENTRY_POINT]),
    ],
)
def test_action_may_leave_out_an_input_that_it_does_not_declare(
    parameters: str, takes_input: bool, codes: list[LintCode]
) -> None:
    text = f"async def run_action({parameters}): ...\n"

    findings = lint({ACTION: text}, action(takes_input=takes_input))

    assert [found.code for found in findings] == codes


def test_sync_with_webhooks_handles_them() -> None:
    fetch = "async def fetch_data(nango): ...\n"
    handler = "async def on_webhook_payload_received(nango, payload):\n    nango.log('x')\n"

    assert lint({SYNC: fetch}, sync()) == []
    assert said(lint({SYNC: fetch}, sync(webhooks=True))) == [(LintCode.NO_WEBHOOK_HANDLER, 1)]
    assert said(lint({SYNC: fetch + handler}, sync(webhooks=True))) == [(LintCode.MISSING_AWAIT, 3)]
    wrong = handler.replace(", payload", "")
    assert LintCode.ENTRY_POINT in {
        found.code for found in lint({SYNC: fetch + wrong}, sync(webhooks=True))
    }


def test_script_of_an_event_begins_with_on_event() -> None:
    path = "acme/on-events/greet.py"
    script = DeclaredScript(path, ScriptKind.ON_EVENT, "greet")

    assert lint({path: "async def on_event(nango): ...\n"}, script) == []
    assert said(lint({path: "async def run(nango): ...\n"}, script)) == [
        (LintCode.NO_ENTRY_POINT, 1)
    ]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("x = 1\nif x:\nf()\n", 3, 1),
        ("x = 1\nreturn x\n", 2, 1),
        ("def f():\n    await g()\n", 2, 5),
        ("x = (\n", 1, 5),
        ("x = '\0'\n", 1, 1),
        ("(" * 5_000 + ")" * 5_000, 1, 1),
    ],
)
def test_file_that_does_not_parse_is_told_wherever_it_is(text: str, line: int, column: int) -> None:
    files = {SYNC: "async def fetch_data(nango): ...\n", "shared/broken.py": text}

    [found] = lint(files, sync())

    assert (found.code, found.path) == (LintCode.SYNTAX, "shared/broken.py")
    assert found.line == line
    assert column in (found.column, 1)


def test_expression_of_many_terms_is_no_trouble() -> None:
    text = "async def fetch_data(nango):\n    x = " + " + ".join(["1"] * 2_000) + "\n"

    assert lint_sync(text) == []
