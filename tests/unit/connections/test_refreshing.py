"""When credentials are refreshed, and what a failed refresh means."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from perdure.connections.refreshing import (
    Advice,
    RefreshFailure,
    Standing,
    after_failure,
    expiry_of,
    without_refresh_token,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = Standing(has_token=True, expires_at=NOW + timedelta(hours=1), obtained_at=NOW)


def ending(minutes: float, **changes: object) -> Standing:
    return replace(GOOD, expires_at=NOW + timedelta(minutes=minutes), obtained_at=None, **changes)


def failed(*, lasting: bool = False, at: datetime = NOW, **changes: object) -> RefreshFailure:
    failure = after_failure(
        None, id="f1", lasting=lasting, code="invalid_grant", message="revoked", now=at
    )
    return replace(failure, **changes)


@pytest.mark.parametrize(
    ("minutes", "advice"),
    [(60, "use"), (15.1, "use"), (15, "refresh"), (1, "refresh"), (-5, "refresh")],
)
def test_a_token_is_refreshed_a_quarter_of_an_hour_before_its_end(
    minutes: float, advice: str
) -> None:
    assert ending(minutes).advise(NOW) == advice


def test_the_provider_says_how_long_before_its_end() -> None:
    assert ending(4, buffer=timedelta(minutes=5)).advise(NOW) is Advice.REFRESH
    assert ending(6, buffer=timedelta(minutes=5)).advise(NOW) is Advice.USE


def test_a_token_without_an_end_is_used_for_ever() -> None:
    endless = Standing(has_token=True, expires_at=None, obtained_at=None)

    assert endless.advise(NOW) is Advice.USE
    assert endless.good_until is None


def test_credentials_without_a_token_get_one() -> None:
    new = Standing(has_token=False, expires_at=None, obtained_at=None)

    assert new.advise(NOW) is Advice.REFRESH


@pytest.mark.parametrize(("seconds", "good_for"), [(5, 2.5), (600, 300), (1800, 900), (3600, 2700)])
def test_a_token_that_lives_for_a_moment_is_used_for_half_of_it(
    seconds: float, good_for: float
) -> None:
    short = replace(GOOD, expires_at=NOW + timedelta(seconds=seconds))

    assert short.good_until == NOW + timedelta(seconds=good_for)


def test_good_credentials_are_refreshed_when_asked_for_or_refused() -> None:
    assert GOOD.advise(NOW, force=True) is Advice.REFRESH
    assert GOOD.advise(NOW, is_refused=True) is Advice.REFRESH


def test_nothing_is_tried_for_half_a_minute_after_a_failure() -> None:
    ended = ending(-1, failure=failed())

    assert ended.advise(NOW + timedelta(seconds=29)) is Advice.REFUSE
    assert ended.advise(NOW + timedelta(seconds=30)) is Advice.REFRESH
    assert ended.advise(NOW, force=True) is Advice.REFRESH


@pytest.mark.parametrize("lasting", [True, False])
def test_a_token_that_has_not_ended_is_used_on_after_a_failure(lasting: bool) -> None:
    assert ending(5, failure=failed(lasting=lasting)).advise(NOW) is Advice.USE


def test_a_token_that_the_api_refused_is_of_no_use_without_a_refresh() -> None:
    assert ending(5, failure=failed()).advise(NOW, is_refused=True) is Advice.REFUSE


def test_it_is_given_up_after_four_days_in_a_row() -> None:
    failure = None
    seen = []
    for hours in (0, 1, 23, 24, 30, 50, 75):
        failure = after_failure(
            failure,
            id=str(hours),
            lasting=True,
            code="invalid_grant",
            message="revoked",
            now=NOW + timedelta(hours=hours),
        )
        seen.append((failure.failing_days, failure.exhausted))

    assert [days for days, _ in seen] == [1, 1, 1, 2, 2, 3, 4]
    assert [given_up for _, given_up in seen] == [False] * 6 + [True]
    assert failure is not None
    ended = ending(-1, failure=failure)
    assert ended.advise(NOW + timedelta(days=30)) is Advice.REFUSE
    assert ended.advise(NOW + timedelta(days=30), force=True) is Advice.REFRESH


def test_a_provider_that_was_away_for_days_is_a_fault_then() -> None:
    assert not failed().is_fault
    assert failed(lasting=True).is_fault
    assert failed(exhausted=True).is_fault


def test_a_failure_comes_back_as_it_was_stored() -> None:
    failure = failed(lasting=True, run_id="r1")

    assert RefreshFailure.from_json(failure.to_json()) == failure


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-01T12:00:00Z", NOW),
        ("2026-03-01T13:00:00+01:00", NOW),
        ("2026-03-01T12:00:00", NOW),
        (NOW, NOW),
        ("soon", None),
        (None, None),
        (5, None),
    ],
)
def test_when_stored_credentials_end(value: object, expected: datetime | None) -> None:
    assert expiry_of({"expires_at": value}) == expected


def test_the_refresh_token_is_left_out_everywhere() -> None:
    raw = {"access_token": "a", "refresh_token": "r", "scope": "s"}

    shown = without_refresh_token({"access_token": "a", "refresh_token": "r", "raw": raw})

    assert shown == {"access_token": "a", "raw": {"access_token": "a", "scope": "s"}}
