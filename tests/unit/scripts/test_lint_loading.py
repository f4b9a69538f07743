"""What only loading a script shows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from textwrap import dedent

import pytest

from perdure.ids import BundleHash
from perdure.scripts.bundle import Bundle
from perdure.scripts.lint import DeclaredScript, Finding, LintCode
from perdure.scripts.lint_loading import load_scripts
from tests.unit.scripts.lints import ACTION, SYNC, action, sync

MODELS = "class Issue:\n    pass\n"


def load(files: Mapping[str, str], *scripts: DeclaredScript) -> list[Finding]:
    complete = {"models.py": MODELS, **{path: dedent(text) for path, text in files.items()}}
    digest = hashlib.sha256(repr(complete).encode()).hexdigest()
    return load_scripts(Bundle(BundleHash(digest), complete), scripts)


def test_script_that_loads_is_fine() -> None:
    text = """
    from models import Issue
    from shared.x import f

    async def fetch_data(nango):
        return f(Issue)
    """
    assert load({SYNC: text, "shared/x.py": "def f(x): ..."}, sync()) == []


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("import no_such_module_anywhere\n", 1, "ModuleNotFoundError: No module named 'no_such"),
        ("x = 1\nfrom models import Nothing\n", 2, "ImportError: cannot import name 'Nothing'"),
        ("x = 1\n\nif x:\n    raise ValueError('no')\n", 4, "ValueError: no"),
        ("raise SystemExit\n", 1, "SystemExit"),
    ],
)
def test_script_that_cannot_be_loaded_names_the_line(text: str, line: int, message: str) -> None:
    [found] = load({SYNC: text}, sync())

    assert (found.code, found.path, found.line) == (LintCode.IMPORT, SYNC, line)
    assert found.message.startswith(f"The script cannot be loaded: {message}")


def test_module_that_is_not_installed_is_to_be_installed() -> None:
    [found] = load({SYNC: "import no_such_module_anywhere\n"}, sync())

    assert found.hint == "install it here, and where workers run"


def test_broken_module_is_told_once_for_all_that_import_it() -> None:
    text = "from shared.x import f\nasync def {}(nango, input=None): ...\n"
    files = {
        SYNC: text.format("fetch_data"),
        ACTION: text.format("run_action"),
        "shared/x.py": "def f(): ...\n\nf(1)\n",
    }
    [found] = load(files, sync(), action())

    assert (found.path, found.line) == ("shared/x.py", 3)


def test_what_does_not_parse_is_left_to_the_parser() -> None:
    files = {SYNC: "import shared\n", ACTION: "x = (\n", "shared.py": "x = )\n"}

    assert load(files, sync(), action()) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("from shared import *", LintCode.NO_ENTRY_POINT),
        ("fetch_data = print", LintCode.ENTRY_POINT),
        ("class fetch_data: ...", LintCode.ENTRY_POINT),
        ("from shared import plain as fetch_data", LintCode.ENTRY_POINT),
        ("from shared import greedy as fetch_data", LintCode.ENTRY_POINT),
        ("from shared import good as fetch_data", None),
        ("from shared import wrap, good\nfetch_data = wrap(good)", None),
        ("from shared import wrap\n@wrap\nasync def fetch_data(): ...", LintCode.ENTRY_POINT),
    ],
)
def test_entry_point_that_is_made_is_judged_as_what_it_is(text: str, code: LintCode | None) -> None:
    shared = """
    import functools

    def plain(nango): ...
    async def greedy(nango, more): ...
    async def good(nango): ...

    def wrap(function):
        @functools.wraps(function)
        async def inner(*args):
            return await function(*args)
        return inner
    """
    found = load({SYNC: text, "shared.py": shared}, sync())

    assert [one.code for one in found] == ([code] if code else [])


def test_what_a_script_prints_stays_out_of_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    load({SYNC: "print('hello')\nasync def fetch_data(nango): ...\n"}, sync())

    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "hello\n")
