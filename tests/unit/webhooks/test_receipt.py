"""What follows from a receiver's answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perdure.proxy.exchange import NetworkError
from perdure.proxy.retry import NetworkFailure
from perdure.webhooks.receipt import Receipt, answered, unanswered

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_2xx_takes_the_webhook(status: int) -> None:
    assert answered(status, {}, now=NOW) == Receipt("delivered", status)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_transient_answers_ask_for_another_attempt(status: int) -> None:
    assert answered(status, {}, now=NOW).verdict == "retry"


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 410, 422])
def test_other_answers_are_lasting(status: int) -> None:
    receipt = answered(status, {"retry-after": "5", "location": "https://a.test"}, now=NOW)
    assert (receipt.verdict, receipt.delay) == ("refused", None)
    assert str(status) in (receipt.error or "")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("Fri, 01 May 2026 01:00:00 GMT", 3600),
        ("9999999", 86400),
        ("0", None),
        ("soon", None),
    ],
)
def test_receiver_may_say_how_long_to_wait(header: str, seconds: float | None) -> None:
    assert answered(503, {"retry-after": header}, now=NOW).delay == seconds


@pytest.mark.parametrize("failure", sorted(set(NetworkFailure) - {NetworkFailure.TOO_LARGE}))
def test_no_answer_asks_for_another_attempt(failure: NetworkFailure) -> None:
    receipt = unanswered(NetworkError(failure, "the connection broke off"))
    assert receipt == Receipt("retry", error="the connection broke off")


def test_endless_answer_is_lasting() -> None:
    assert unanswered(NetworkError(NetworkFailure.TOO_LARGE, "too much")).verdict == "refused"
