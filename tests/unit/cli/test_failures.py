"""How commands fail: exit codes, one line, a hint, and never a secret."""

from __future__ import annotations

import pytest
from pytest_httpserver import HTTPServer

from perdure.app.cli.errors import CliError
from perdure.embedded.ports import choose_ports
from tests.unit.cli.calls import KEY, Run


def refuse(server: HTTPServer, status: int, error: dict[str, object]) -> None:
    server.expect_request("/integrations").respond_with_json({"error": error}, status=status)


def test_refusal_is_one_line_with_a_hint(server: HTTPServer, run: Run) -> None:
    refuse(server, 401, {"code": "unknown_account", "message": "No environment has this key."})

    result = run("integrations", "list")

    assert result.code == 1
    assert result.out == ""
    message, hint = result.err.splitlines()
    assert message == "error: No environment has this key."
    assert hint.startswith("hint: give the server's key")
    assert KEY not in result.err


def test_every_wrong_field_is_named(server: HTTPServer, run: Run) -> None:
    errors = [
        {"code": "x", "message": "too long", "path": ["credentials", "api_key"]},
        {"code": "y", "message": "Two things are wrong.", "path": ["provider"]},
    ]
    refuse(
        server,
        400,
        {"code": "invalid_body", "message": "Two things are wrong.", "errors": errors},
    )

    result = run("integrations", "list")

    assert result.err.splitlines() == [
        "error: Two things are wrong.",
        "  credentials.api_key: too long",
    ]


def test_server_that_is_away_is_named(run: Run) -> None:
    url = f"http://127.0.0.1:{choose_ports({'x': 0})['x']}"

    result = run("runs", "list", "--server", url, "--secret-key", KEY)

    assert result.code == 1
    assert result.err.splitlines()[0] == f"error: {url} does not answer"
    assert "perdure dev" in result.err


def test_another_server_than_perdure_is_recognised(server: HTTPServer, run: Run) -> None:
    server.expect_request("/integrations").respond_with_data("<html>\nhello", status=502)

    result = run("integrations", "list")

    assert result.code == 1
    assert "answered 502" in result.err
    assert "is it the address of a Perdure server?" in result.err


@pytest.mark.parametrize("answer", ["[]", "not json"])
def test_answer_of_another_form_is_no_crash(server: HTTPServer, run: Run, answer: str) -> None:
    server.expect_request("/integrations").respond_with_data(answer)

    assert run("integrations", "list").code == 1


def test_address_that_is_no_url_is_refused(run: Run) -> None:
    result = run("runs", "list", "--server", "http://[x", "--secret-key", KEY)

    assert result.code == 1
    assert "is not the URL of a server" in result.err


def test_debug_shows_the_traceback(run: Run) -> None:
    with pytest.raises(CliError, match="No server"):
        run("runs", "list", "--debug")


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "list", "--nope"),
        ("runs", "list", "--limit", "many"),
        ("connections", "create"),
        ("nope",),
        ("actions", "trigger", "a", "b", "-c", "x", "--input", "{"),
        ("actions", "trigger", "a", "b", "-c", "x", "--input", "@missing.json"),
        ("connections", "create", "x", "--auth", "none", "--config", "nothing"),
    ],
)
def test_wrong_arguments_are_exit_code_two(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert result.code == 2
    assert result.err.startswith("error: ")
    assert "hint: " in result.err


def test_refused_deploy_is_exit_code_eleven_with_each_problem(server: HTTPServer, run: Run) -> None:
    problems = ["nango.yaml:3:5: error[required]: no `runs`\n  |\n3 | x", "a.py:1: unexpected EOF"]
    message = "2 problems; nothing was deployed.\n" + "\n".join(problems)
    payload = {"problems": problems}
    server.expect_request("/deployments/plan").respond_with_json(
        {"error": {"code": "compile_failed", "message": message, "payload": payload}}, status=400
    )
    assert run("init").code == 0

    result = run("deploy")

    assert result.code == 11
    assert result.err.splitlines() == [
        "error: 2 problems; nothing was deployed.",
        "  nango.yaml:3:5: error[required]: no `runs`",
        "    |",
        "  3 | x",
        "  a.py:1: unexpected EOF",
    ]


def test_deploy_without_a_project_is_exit_code_eleven(run: Run) -> None:
    result = run("deploy", "--project", "nowhere")

    assert result.code == 11
    assert "perdure init" in result.err


def test_settings_that_are_wrong_are_named_without_their_values(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_PORT", "s3cret")

    result = run("worker")

    assert result.code == 1
    assert result.err.startswith("error: PERDURE_PORT: ")
    assert "s3cret" not in result.err
