import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.providers.provider import Provider
from perdure.proxy.requests import HttpRequest, Method, RetryHeader
from perdure.proxy.retry import (
    MAX_WAIT_S,
    NetworkFailure,
    Outcome,
    RetryDecision,
    RetryReason,
    decide,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


def provider(idempotency_header: str | None = None, **retry: Any) -> Provider:
    return Provider.model_validate(
        {
            "name": "acme",
            "display_name": "Acme",
            "auth_mode": "NONE",
            "proxy": {"retry": retry, "idempotency_header": idempotency_header},
        }
    )


def request(method: Method = "GET", **fields: Any) -> HttpRequest:
    return HttpRequest(method=method, endpoint="/x", **fields)


def answer(status: int, body: Any = None, **headers: str) -> Outcome:
    return Outcome(
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=body,
    )


def decided(
    outcome: Outcome, asked: HttpRequest | None = None, entry: Provider | None = None
) -> RetryDecision:
    return decide(outcome, asked or request(), entry or provider(), now=NOW)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_idempotent_request_is_repeated_after_a_transient_status(
    method: Method, status: int
) -> None:
    assert decided(answer(status), request(method)).retry


@pytest.mark.parametrize("status", [301, 304, 400, 401, 402, 403, 404, 405, 409, 410, 422])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_statuses_are_lasting(method: Method, status: int) -> None:
    assert decided(answer(status), request(method)) == RetryDecision(
        retry=False, delay=None, reason=RetryReason.LASTING
    )


@pytest.mark.parametrize("method", ["POST", "PATCH"])
class TestRequestThatMustNotHappenTwice:
    def test_is_repeated_when_nothing_was_sent(self, method: Method) -> None:
        outcome = Outcome(failure=NetworkFailure.NOT_CONNECTED)
        assert decided(outcome, request(method)).retry

    def test_is_repeated_after_a_rate_limit(self, method: Method) -> None:
        assert decided(answer(429), request(method)).retry

    def test_is_repeated_after_unavailability_with_a_time(self, method: Method) -> None:
        assert decided(answer(503, retry_after="7"), request(method)) == RetryDecision(
            retry=True, delay=7.0, reason=RetryReason.TRANSIENT
        )

    @pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
    def test_is_not_repeated_when_it_may_have_happened(self, method: Method, status: int) -> None:
        decision = decided(answer(status), request(method))
        assert decision == RetryDecision(retry=False, delay=None, reason=RetryReason.NOT_REPEATABLE)

    def test_is_not_repeated_after_an_interruption(self, method: Method) -> None:
        outcome = Outcome(failure=NetworkFailure.INTERRUPTED)
        assert decided(outcome, request(method)).reason is RetryReason.NOT_REPEATABLE

    @pytest.mark.parametrize("fields", [{"retries": 3}, {"retry_on": [409]}])
    @pytest.mark.parametrize(
        "outcome", [answer(500), answer(408), Outcome(failure=NetworkFailure.INTERRUPTED)]
    )
    def test_is_repeated_when_its_author_allowed_it(
        self, method: Method, fields: dict[str, Any], outcome: Outcome
    ) -> None:
        assert decided(outcome, request(method, **fields)).retry

    @pytest.mark.parametrize("outcome", [answer(500), Outcome(failure=NetworkFailure.INTERRUPTED)])
    def test_is_repeated_with_a_key_that_makes_it_count_once(
        self, method: Method, outcome: Outcome
    ) -> None:
        asked = request(method, idempotency_key="run/1")
        assert decided(outcome, asked, provider(idempotency_header="Idempotency-Key")).retry
        assert not decided(outcome, asked, provider()).retry

    def test_is_repeated_after_a_refusal_the_provider_lists(self, method: Method) -> None:
        entry = provider(error_code=["409", "408", "5xx"])
        assert decided(answer(409), request(method), entry).retry
        assert not decided(answer(408), request(method), entry).retry
        assert not decided(answer(500), request(method), entry).retry


@pytest.mark.parametrize(
    "failure",
    sorted(set(NetworkFailure) - {NetworkFailure.NOT_CONNECTED, NetworkFailure.INTERRUPTED}),
)
def test_lasting_network_failures_are_not_repeated(failure: NetworkFailure) -> None:
    assert decided(Outcome(failure=failure), request(retries=5)).reason is RetryReason.LASTING


def test_no_retries_means_none() -> None:
    for outcome in (answer(429), answer(503), Outcome(failure=NetworkFailure.NOT_CONNECTED)):
        assert decided(outcome, request(retries=0)).reason is RetryReason.RETRIES_OFF


def test_statuses_that_the_author_names_are_repeated() -> None:
    decision = decided(answer(404, retry_after="3"), request("POST", retry_on=[404]))
    assert decision == RetryDecision(retry=True, delay=3.0, reason=RetryReason.ASKED_FOR)


def test_unauthorized_is_lasting_even_if_listed_or_exhausted() -> None:
    entry = provider(error_code=["4xx"], remaining="x-left")
    assert decided(answer(401, x_left="0"), entry=entry).reason is RetryReason.LASTING


def test_nothing_remaining_is_a_rate_limit_whatever_the_refusal() -> None:
    entry = provider(remaining="X-Left", at="X-Reset")
    outcome = answer(403, x_left="0", x_reset=str(EPOCH + 90))
    assert decided(outcome, request("POST"), entry) == RetryDecision(
        retry=True, delay=90.0, reason=RetryReason.RATE_LIMITED
    )
    assert not decided(answer(403, x_left="12"), request("POST"), entry).retry


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refusal_that_names_a_time_is_a_rate_limit(method: Method) -> None:
    assert decided(answer(403, retry_after="60"), request(method)) == RetryDecision(
        retry=True, delay=60.0, reason=RetryReason.RATE_LIMITED
    )


def test_timeout_that_names_a_time_may_still_have_happened() -> None:
    assert decided(answer(408, retry_after="1")).retry
    assert not decided(answer(408, retry_after="1"), request("POST")).retry


def test_reset_moment_counts_only_when_nothing_remains() -> None:
    entry = provider(remaining="x-left", at="x-reset", after="x-wait")
    reset = str(EPOCH + 3000)
    assert decided(answer(502, x_left="4999", x_reset=reset), entry=entry).delay is None
    assert decided(answer(429, x_left="4999", x_reset=reset, x_wait="60"), entry=entry).delay == 60
    assert decided(answer(429, x_left="0", x_reset=reset, x_wait="60"), entry=entry).delay == 3000
    assert decided(answer(429, x_reset=reset), entry=entry).delay == 3000


def test_own_header_wins_over_the_providers() -> None:
    asked = request(retry_header=RetryHeader(after=("X-Mine",)))
    entry = provider(after="x-theirs")
    assert decided(answer(429, x_mine="5", x_theirs="50"), asked, entry).delay == 5
    assert decided(answer(429, x_theirs="50"), asked, entry).delay == 50


def test_longest_of_several_headers_counts() -> None:
    entry = provider(after=["x-one", "x-two"], at=["x-three"])
    outcome = answer(429, x_one="5", x_two="20", x_three=str(EPOCH + 15))
    assert decided(outcome, entry=entry).delay == 20


def test_never_sooner_than_retry_after() -> None:
    entry = provider(after="x-wait")
    assert decided(answer(429, x_wait="5", retry_after="30"), entry=entry).delay == 30
    assert decided(answer(429, retry_after="30")).delay == 30


@pytest.mark.parametrize(
    "value",
    [
        str(EPOCH + 30),
        f" {EPOCH + 30} ",
        str((EPOCH + 30) * 1000),
        format_datetime(NOW + timedelta(seconds=30), usegmt=True),
        (NOW + timedelta(seconds=30)).isoformat(),
        "2026-11-20T12:00:30Z",
        "2026-11-20 12:00:30",
    ],
)
def test_moment_is_understood_in_each_notation(value: str) -> None:
    assert decided(answer(429, x_reset=value), entry=provider(at="x-reset")).delay == 30


@pytest.mark.parametrize("value", [str(EPOCH - 1), str(EPOCH), "soon", "", "nan", "-5", "inf"])
def test_past_or_unreadable_moment_is_as_good_as_none(value: str) -> None:
    assert decided(answer(429, x_reset=value), entry=provider(at="x-reset")).delay is None


def test_retry_after_may_be_a_date() -> None:
    value = format_datetime(NOW + timedelta(minutes=2), usegmt=True)
    assert decided(answer(503, retry_after=value)).delay == 120


@pytest.mark.parametrize(
    ("rule", "body", "delay"),
    [
        ({"path": "error.text", "value": r"in (\d+) s"}, {"error": {"text": "again in 9 s"}}, 9),
        ({"path": "wait"}, {"wait": 4.5}, 4.5),
        ({"path": "at", "strategy": "at"}, {"at": "2026-11-20T12:00:10Z"}, 10),
        ({"path": "wait"}, {"wait": True}, None),
        ({"path": "wait"}, {"wait": {"s": 4}}, None),
        ({"path": "wait"}, "no JSON", None),
        ({"path": "wait", "value": r"(\d+)h|x"}, {"wait": "x"}, None),
    ],
)
def test_wait_is_found_in_the_body(rule: dict[str, Any], body: Any, delay: float | None) -> None:
    assert decided(answer(429, body), entry=provider(in_body=rule)).delay == delay


def test_header_wins_over_the_body() -> None:
    entry = provider(in_body={"path": "wait"}, after="x-wait")
    assert decided(answer(429, {"wait": 50}, x_wait="5"), entry=entry).delay == 5


def test_absurd_wait_is_cut_to_a_day() -> None:
    assert decided(answer(429, retry_after="31536000")).delay == MAX_WAIT_S


header_values = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes(timezones=st.just(UTC)).map(lambda moment: format_datetime(moment, usegmt=True)),
    st.datetimes().map(datetime.isoformat),
)


@given(
    status=st.one_of(st.none(), st.integers(100, 599)),
    failure=st.sampled_from(NetworkFailure),
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    retries=st.one_of(st.none(), st.integers(0, 5)),
    values=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("retry-after", "x-at", "x-after", "x-left"), header_values)
    ),
)
def test_every_failure_is_decided_with_a_sane_wait(
    status: int | None,
    failure: NetworkFailure,
    method: Method,
    retries: int | None,
    values: dict[str, str],
) -> None:
    outcome = Outcome(
        status=status, headers=values, failure=None if status is not None else failure
    )
    entry = provider(at="x-at", after="x-after", remaining="x-left")
    decision = decided(outcome, request(method, retries=retries), entry)
    if decision.delay is not None:
        assert decision.retry
        assert math.isfinite(decision.delay)
        assert 0 < decision.delay <= MAX_WAIT_S


@given(seconds=st.integers(1, 80_000), scale=st.sampled_from([1, 1000]))
def test_moment_in_seconds_and_milliseconds_means_the_same(seconds: int, scale: int) -> None:
    outcome = answer(429, x_at=str((EPOCH + seconds) * scale))
    assert decided(outcome, entry=provider(at="x-at")).delay == seconds
