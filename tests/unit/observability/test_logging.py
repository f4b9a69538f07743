"""The log of a process."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import structlog

from perdure.observability.logging import MASK, configure_logging


@dataclass(frozen=True)
class Settings:
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "json"


Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _logging_of_others() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    level, handlers, config = root.level, list(root.handlers), structlog.get_config()
    yield
    root.handlers, root.level = handlers, level
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)


def events(capsys: Capture) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_own_events_and_those_of_libraries_have_one_form(capsys: Capture) -> None:
    configure_logging(Settings())
    structlog.contextvars.bind_contextvars(run_id="r1")

    structlog.get_logger("perdure.x").info("page_saved", pages=3)
    logging.getLogger("temporalio.activity").warning(
        "slow %s", "step", extra={"temporal_activity": {"attempt": 2}}
    )

    ours, theirs = events(capsys)
    assert (ours["message"], ours["pages"], ours["run_id"]) == ("page_saved", 3, "r1")
    assert (theirs["message"], theirs["level"]) == ("slow step", "warning")
    assert theirs["logger"] == "temporalio.activity"
    assert theirs["temporal_activity"] == {"attempt": 2}
    assert theirs["run_id"] == "r1"


class Unwritable(io.StringIO):
    """What is left of a stream whose reader is gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


@pytest.mark.parametrize("closed", [False, True])
def test_a_line_that_cannot_be_written_fails_nobody(
    monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    stream = io.StringIO() if closed else Unwritable()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(Settings())
    if closed:
        stream.close()

    structlog.get_logger("perdure.x").error("nobody reads this")


class Slow(io.StringIO):
    """Lets others in while it writes."""

    def write(self, text: str) -> int:
        for character in text:
            time.sleep(0)
            super().write(character)
        return len(text)


def test_lines_of_threads_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Slow())
    configure_logging(Settings())
    ours, theirs = structlog.get_logger("perdure.x"), logging.getLogger("lib")

    with ThreadPoolExecutor(8) as threads:
        for number in range(50):
            threads.submit(ours.info, "ours", number=number)
            threads.submit(theirs.warning, "theirs", extra={"number": number})

    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    for whose in ("ours", "theirs"):
        assert sorted(e["number"] for e in written if e["message"] == whose) == [*range(50)]


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("s3cret")


@pytest.mark.parametrize(
    ("value", "fault"), [({(1, 2): 3}, "TypeError"), (Unspeakable(), "RuntimeError")]
)
def test_of_an_event_that_cannot_be_shown_the_rest_is(
    capsys: Capture, value: object, fault: str
) -> None:
    configure_logging(Settings())
    log = structlog.get_logger("perdure.x")

    try:
        raise ValueError("reason")
    except ValueError:
        log.exception("page_not_saved", value=value, page=3)
    log.info(value)

    told, nameless = events(capsys)
    assert (told["message"], told["page"], told["level"]) == ("page_not_saved", 3, "error")
    assert (told["logger"], told["not_shown"]) == (
        "perdure.x",
        "TypeError" if isinstance(value, dict) else "RuntimeError",
    )
    assert "ValueError: reason" in told["exception"]
    assert nameless["logger"] == "perdure.x"
    assert "s3cret" not in repr([told, nameless])


def test_a_step_of_a_script_may_log_without_a_name(capsys: Capture) -> None:
    configure_logging(Settings())

    structlog.get_logger().info("hello", number=1)

    assert events(capsys)[0]["message"] == "hello"


def test_level_decides_what_is_written(capsys: Capture) -> None:
    configure_logging(Settings(log_level="warning"))

    structlog.get_logger("perdure.x").info("quiet")
    logging.getLogger("temporalio").info("quiet")
    structlog.get_logger("perdure.x").error("loud")

    assert [event["message"] for event in events(capsys)] == ["loud"]


@pytest.mark.parametrize(
    "field",
    [
        *("authorization", "Authorization", "api_key", "apiKey", "X-Api-Key", "access_token"),
        *("refreshToken", "token", "password", "db_passwd", "client_secret", "secret_key"),
        *("credentials", "encryption_keys", "set-cookie", "private_key"),
    ],
)
def test_fields_named_like_secrets_are_masked(capsys: Capture, field: str) -> None:
    configure_logging(Settings())

    log = structlog.get_logger("perdure.x")
    log.info("e", **{field: "s3cret", "nested": [{field: {"value": "s3cret"}}]})
    logging.getLogger("lib").info("e", extra={field: "s3cret"})

    written = events(capsys)
    assert "s3cret" not in repr(written)
    assert [event[field] for event in written] == [MASK, MASK]


@pytest.mark.parametrize("field", ["key", "fairness_key", "tokens_left", "author", "passes"])
def test_other_fields_are_left_alone(capsys: Capture, field: str) -> None:
    configure_logging(Settings())

    structlog.get_logger("perdure.x").info("e", **{field: "x"})

    assert events(capsys)[0][field] == "x"


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_show_no_local_variables(
    capsys: Capture, form: Literal["json", "console"]
) -> None:
    configure_logging(Settings(log_format=form))
    password = "s3" + "cret"

    try:
        raise ValueError(len(password))
    except ValueError:
        structlog.get_logger("perdure.x").exception("failed")
        logging.getLogger("lib").exception("failed")

    written = capsys.readouterr().err
    assert written.count("ValueError: 6") == 2
    assert "s3cret" not in written


def test_console_has_one_line_an_event_for_people(capsys: Capture) -> None:
    configure_logging(Settings(log_format="console"))

    structlog.get_logger("perdure.x").info("page_saved", pages=3)

    (line,) = capsys.readouterr().err.splitlines()
    assert "page_saved" in line
    assert "pages=3" in line
    assert "\x1b" not in line


def test_handlers_of_uvicorn_give_way_to_ours(capsys: Capture) -> None:
    logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())

    configure_logging(Settings())
    logging.getLogger("uvicorn.error").warning("hello")

    assert [event["message"] for event in events(capsys)] == ["hello"]


@pytest.mark.parametrize("name", ["httpcore.http11", "httpx", "uvicorn.access"])
def test_what_tells_of_every_request_is_quiet_at_any_level(name: str) -> None:
    configure_logging(Settings(log_level="debug"))

    assert not logging.getLogger(name).isEnabledFor(logging.INFO)


def test_what_is_not_json_is_written_as_text(capsys: Capture) -> None:
    configure_logging(Settings())

    structlog.get_logger("perdure.x").info("e", value=object())

    assert events(capsys)[0]["value"].startswith("<object object")
