"""Where credentials come from."""

from __future__ import annotations

import getpass
import io
from pathlib import Path
from typing import Any

import pytest

from perdure.app.cli.credentials import CredentialOptions, read_credentials
from perdure.app.cli.errors import UsageError
from perdure.connections.credentials import parse_credentials


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def read(**given: Any) -> dict[str, Any]:
    return read_credentials(CredentialOptions(**given))


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"api_key": "k"}, "API_KEY"),
        ({"username": "u", "password": "p"}, "BASIC"),
        ({"access_token": "a", "refresh_token": "r", "expires_at": "2026-05-01"}, "OAUTH2"),
        ({"client_id": "i", "client_secret": "s"}, "OAUTH2_CC"),
        ({"oauth_token": "t", "oauth_token_secret": "s"}, "OAUTH1"),
        ({"token_id": "i", "token_secret": "s"}, "TBA"),
        ({"installation_id": "7", "app_id": "8"}, "APP"),
    ],
)
def test_kind_follows_from_what_is_given(given: dict[str, str], kind: str) -> None:
    assert read(**given) == {"type": kind, **given}
    parse_credentials(read(**given))


def test_kinds_that_look_alike_are_named() -> None:
    signed = {"username": "u", "password": "p"}
    assert read(auth="signature", **signed) == {"type": "SIGNATURE", **signed}
    assert read(auth="none") == {"type": "NONE"}


def test_client_beside_a_token_is_the_one_it_belongs_to() -> None:
    client = {"client_id": "i", "client_secret": "s"}
    token = {"type": "OAUTH2", "access_token": "a"}
    assert read(access_token="a", **client) == token | {"config_override": client}
    by_hand = read(token_id="i", token_secret="s", **client)
    assert by_hand["config_override"] == client


def test_fields_that_an_entry_names_come_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----KEY-----\n")
    fields = ["issuerId=i=1", f"privateKey=@{tmp_path}/key.pem"]

    found = read(auth="jwt", credential=fields)

    assert found == {"type": "JWT", "issuerId": "i=1", "privateKey": "-----KEY-----"}
    assert read(auth="two-step", credential=["a=b"]) == {"type": "TWO_STEP", "a": "b"}


@pytest.mark.parametrize(
    "given",
    [
        {"auth": "jwt"},
        {"credential": ["a=b"]},
        {"auth": "two-step", "credential": ["a"]},
        {"auth": "api-key", "api_key": "k", "credential": ["a=b"]},
    ],
)
def test_fields_without_their_kind_or_the_reverse_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        read(**given)


def test_two_kinds_at_once_need_a_word_which() -> None:
    with pytest.raises(UsageError) as refused:
        read(api_key="k", username="u", password="p")
    assert "--auth basic and --auth api-key fit" in str(refused.value.hint)
    assert read(auth="api-key", api_key="k", username="u") == {"type": "API_KEY", "api_key": "k"}


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
    assert read(auth="oauth2") == {"type": "OAUTH2", "access_token": "s3cret"}
    assert read(client_id="i") == {
        "type": "OAUTH2_CC",
        "client_id": "i",
        "client_secret": "s3cret",
    }
    assert asked == ["Api key: ", "Access token: ", "Client secret: "]


def test_program_is_not_asked() -> None:
    with pytest.raises(UsageError):
        read()
    with pytest.raises(UsageError):
        read(username="u")
    with pytest.raises(UsageError):
        read(api_key="-")


def test_file_holds_any_kind(tmp_path: Path) -> None:
    file = tmp_path / "credentials.json"
    file.write_text('{"type": "OAUTH2", "access_token": "t"}')

    assert read(credentials_file=str(file)) == {"type": "OAUTH2", "access_token": "t"}


@pytest.mark.parametrize("content", ["[]", "{}", '{"type": 1}', "not json"])
def test_file_without_a_type_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(content)

    with pytest.raises(UsageError):
        read(credentials_file=str(file))
