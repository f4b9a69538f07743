"""Where credentials come from."""

from __future__ import annotations

import getpass
import io
from pathlib import Path
from typing import Any

import pytest

from perdure.app.cli.credentials import read_credentials
from perdure.app.cli.errors import UsageError

NOTHING: dict[str, Any] = dict.fromkeys(("kind", "api_key", "username", "password", "file"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def read(**given: Any) -> dict[str, Any]:
    return read_credentials(**{**NOTHING, **given})


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())


def test_kind_follows_from_what_is_given() -> None:
    assert read(api_key="k") == {"type": "API_KEY", "api_key": "k"}
    basic = {"type": "BASIC", "username": "u", "password": "p"}
    assert read(username="u", password="p") == basic
    assert read(kind="none") == {"type": "NONE"}


def test_two_kinds_at_once_need_a_word_which() -> None:
    with pytest.raises(UsageError):
        read(api_key="k", username="u", password="p")
    assert read(kind="api-key", api_key="k", username="u") == {"type": "API_KEY", "api_key": "k"}


def test_dash_reads_a_line_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\nrest\n"))

    assert read(username="u", password="-")["password"] == "s3cret"


def test_person_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "s3cret"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", answer)

    assert read() == {"type": "API_KEY", "api_key": "s3cret"}
    assert asked == ["Api key: "]


def test_program_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError):
        read()
    with pytest.raises(UsageError):
        read(username="u")
    with pytest.raises(UsageError):
        read(api_key="-")


def test_file_holds_any_kind(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text('{"type": "OAUTH2", "access_token": "t"}')

    assert read(file=str(file)) == {"type": "OAUTH2", "access_token": "t"}


@pytest.mark.parametrize("content", ["[]", "{}", '{"type": 1}', "not json"])
def test_file_without_a_type_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(content)

    with pytest.raises(UsageError):
        read(file=str(file))
