"""The log of a process."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import structlog

from perdure.observability.logging import MASK, configure_logging


@dataclass(frozen=True)
class Settings:
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "json"


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard error; the logging of the other tests is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(capture=False)


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_own_events_and_those_of_libraries_have_one_form(stream: io.StringIO) -> None:
    configure_logging(Settings())
    structlog.contextvars.bind_contextvars(run_id="r1")

    structlog.get_logger("perdure.x").info("page_saved", pages=3)
    logging.getLogger("temporalio.activity").warning(
        "slow %s", "step", extra={"temporal_activity": {"attempt": 2}}
    )

    ours, theirs = events(stream)
    assert (ours["message"], ours["pages"], ours["run_id"]) == ("page_saved", 3, "r1")
    assert (theirs["message"], theirs["level"]) == ("slow step", "warning")
    assert theirs["logger"] == "temporalio.activity"
    assert theirs["temporal_activity"] == {"attempt": 2}
    assert theirs["run_id"] == "r1"


def test_level_decides_what_is_written(stream: io.StringIO) -> None:
    configure_logging(Settings(log_level="warning"))

    structlog.get_logger("perdure.x").info("quiet")
    logging.getLogger("temporalio").info("quiet")
    structlog.get_logger("perdure.x").error("loud")

    assert [event["message"] for event in events(stream)] == ["loud"]


@pytest.mark.parametrize(
    "field",
    [
        *("authorization", "Authorization", "api_key", "apiKey", "X-Api-Key", "access_token"),
        *("refreshToken", "token", "password", "db_passwd", "client_secret", "secret_key"),
        *("credentials", "encryption_keys", "set-cookie", "private_key"),
    ],
)
def test_fields_named_like_secrets_are_masked(stream: io.StringIO, field: str) -> None:
    configure_logging(Settings())

    log = structlog.get_logger("perdure.x")
    log.info("e", **{field: "s3cret", "nested": [{field: {"value": "s3cret"}}]})
    logging.getLogger("lib").info("e", extra={field: "s3cret"})

    assert "s3cret" not in stream.getvalue()
    assert events(stream)[0][field] == MASK


@pytest.mark.parametrize("field", ["key", "fairness_key", "tokens_left", "author", "passes"])
def test_other_fields_are_left_alone(stream: io.StringIO, field: str) -> None:
    configure_logging(Settings())

    structlog.get_logger("perdure.x").info("e", **{field: "x"})

    assert events(stream)[0][field] == "x"


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_show_no_local_variables(
    stream: io.StringIO, form: Literal["json", "console"]
) -> None:
    configure_logging(Settings(log_format=form))
    password = "s3" + "cret"

    try:
        raise ValueError(len(password))
    except ValueError:
        structlog.get_logger("perdure.x").exception("failed")
        logging.getLogger("lib").exception("failed")

    assert stream.getvalue().count("ValueError") == 2
    assert "s3cret" not in stream.getvalue()


def test_console_has_one_line_an_event_for_people(stream: io.StringIO) -> None:
    configure_logging(Settings(log_format="console"))

    structlog.get_logger("perdure.x").info("page_saved", pages=3)

    line = stream.getvalue().rstrip("\n")
    assert "page_saved" in line
    assert "pages=3" in line
    assert "\x1b" not in line


def test_handlers_of_uvicorn_give_way_to_ours(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())

    configure_logging(Settings())
    logging.getLogger("uvicorn.error").warning("hello")

    assert [event["message"] for event in events(stream)] == ["hello"]


def test_what_is_not_json_is_written_as_text(stream: io.StringIO) -> None:
    configure_logging(Settings())

    structlog.get_logger("perdure.x").info("e", value=object())

    assert events(stream)[0]["value"].startswith("<object object")
