"""When an output counts as what a page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.terminal import Terminal, matches


@pytest.mark.parametrize(
    ("shown", "output"),
    [
        (("a", "b"), "a\nb\n"),
        (("id  name", "1   Ada"), "id   name     \n1    Ada\n"),
        (("Took ... s",), "Took 1.5 s\n"),
        (("...", "end"), "one\ntwo\nend\n"),
        (("begin", "..."), "begin\n"),
    ],
)
def test_output_is_what_is_shown(shown: tuple[str, ...], output: str) -> None:
    assert matches(shown, output)


@pytest.mark.parametrize(
    ("shown", "output"),
    [
        (("a",), "a\nb\n"),
        (("a", "b"), "b\na\n"),
        (("Took ... s",), "Took long\n"),
        (("5 added",), "15 added\n"),
        (("...", "end"), "one\nend of it\n"),
    ],
)
def test_output_is_not_what_is_shown(shown: tuple[str, ...], output: str) -> None:
    assert not matches(shown, output)


def test_terminal_keeps_folder_and_variables_and_tells_exit_codes(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, {"PATH": "/usr/bin:/bin"})
    try:
        assert terminal.run("mkdir a && cd a && X=5") == (0, "")
        assert terminal.run("echo $X in \\\n  one line") == (0, "5 in one line\n")
        assert terminal.folder == (tmp_path / "a").resolve()
        assert terminal.run("ls nothing 2>&1 >/dev/null | wc -l; false") == (1, "1\n")
        assert terminal.run("cat") == (0, ""), "there is nothing to read"
    finally:
        terminal.end()
