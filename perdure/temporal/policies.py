"""Timeouts and retries of every activity, by intent. Workflows build no retry policy themselves."""

from __future__ import annotations

from datetime import timedelta

from temporalio.common import RetryPolicy
from temporalio.workflow import (
    ActivityCancellationType,
    ActivityConfig,
    LocalActivityConfig,
)

__all__ = [
    "ACTION_LIMIT",
    "AT_ONCE",
    "BOOKKEEPING",
    "OTHER_WORKFLOW",
    "RECORDS",
    "RETRY",
    "SCHEDULES",
    "STARTING",
    "SWAP",
    "SYNC_LIMIT",
    "TRANSIENT_BACKOFF",
    "WEBHOOK_LIMIT",
    "WHOLE_SET",
    "backoff",
    "http_once",
    "http_until",
    "limit_of",
    "page_slice",
    "step",
    "webhook_delivery",
]

SYNC_LIMIT = timedelta(hours=24)
"""How long one step of a sync goes on trying before a transient fault fails the run."""

ACTION_LIMIT = timedelta(minutes=15)
"""The same for actions."""

WEBHOOK_LIMIT = timedelta(hours=1)
"""How long the handling of a provider's webhook may take, with all its attempts."""

# What a dead worker costs: its activities are given to another one after this long.
_HEARTBEAT_TIMEOUT = timedelta(seconds=10)
# The same for what can be done twice without harm, and is what most runs are busy with: a worker
# that is only slow is taken for dead sooner.
_SOON = timedelta(seconds=5)
# Credentials may have to be refreshed before, and once more where the API refuses them.
_ATTEMPT_SLACK = timedelta(seconds=60)

TRANSIENT_BACKOFF = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=10),
)
"""Waits between attempts when the other side did not say how long: 1 s, doubled, up to 10 min."""

# A receiver that is down for a day is not asked five hundred times.
_WEBHOOK_BACKOFF = RetryPolicy(
    initial_interval=timedelta(seconds=2),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=30),
)

# The API's faults bring waits of their own, which start anew with each page; a worker that died
# is no reason to wait, however often it happens while one step works.
_PAGES_BACKOFF = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=1,
)

_DATABASE_BACKOFF = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=30),
)

BOOKKEEPING = ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    schedule_to_close_timeout=SYNC_LIMIT,
    heartbeat_timeout=_SOON,
    retry_policy=_DATABASE_BACKOFF,
)
"""A few rows read or written in our own database."""

STARTING = ActivityConfig(
    **BOOKKEEPING,
    # Whoever cancels a run that starts must know whether it has been noted.
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)
"""The start of a run, noted in our own database."""

AT_ONCE = LocalActivityConfig(
    start_to_close_timeout=timedelta(seconds=10),
    schedule_to_close_timeout=SYNC_LIMIT,
    retry_policy=_DATABASE_BACKOFF,
)
"""A few rows read or written by the worker that runs the workflow, without a task of its own."""

SWAP = ActivityConfig(
    start_to_close_timeout=timedelta(hours=1),
    schedule_to_close_timeout=SYNC_LIMIT,
    heartbeat_timeout=_HEARTBEAT_TIMEOUT,
    retry_policy=_DATABASE_BACKOFF,
)
"""Records of a whole sync replaced or removed at once; millions of them take minutes."""

RECORDS = ActivityConfig(
    start_to_close_timeout=timedelta(minutes=5),
    schedule_to_close_timeout=SYNC_LIMIT,
    heartbeat_timeout=_SOON,
    retry_policy=_DATABASE_BACKOFF,
)
"""A batch of records written in our own database."""

WHOLE_SET = ActivityConfig(
    start_to_close_timeout=timedelta(hours=2),
    schedule_to_close_timeout=SYNC_LIMIT,
    heartbeat_timeout=_HEARTBEAT_TIMEOUT,
    retry_policy=_DATABASE_BACKOFF,
)
"""All records of a model gone through in our own database, however many there are."""

OTHER_WORKFLOW = ActivityConfig(
    start_to_close_timeout=SYNC_LIMIT,
    heartbeat_timeout=_HEARTBEAT_TIMEOUT,
    retry_policy=_DATABASE_BACKOFF,
)
"""The result of another workflow, waited for where it is under way."""

SCHEDULES = ActivityConfig(
    start_to_close_timeout=timedelta(minutes=30),
    # Whoever deploys must not be locked out for a day by what cannot be done.
    schedule_to_close_timeout=timedelta(hours=1),
    heartbeat_timeout=_HEARTBEAT_TIMEOUT,
    retry_policy=_DATABASE_BACKOFF,
)
"""Temporal schedules made, changed or deleted; thousands of them after a deploy."""

RETRY = ActivityConfig(
    start_to_close_timeout=timedelta(minutes=10),
    # Somebody waits for the answer, and can ask again.
    schedule_to_close_timeout=timedelta(minutes=15),
    heartbeat_timeout=_HEARTBEAT_TIMEOUT,
    retry_policy=_DATABASE_BACKOFF,
)
"""A run's history read, replayed and reset."""


def limit_of(retry_limit: float | None, default: timedelta = SYNC_LIMIT) -> timedelta:
    """Return how long a step goes on trying, given its script's `retry_limit` in seconds."""
    return default if retry_limit is None else timedelta(seconds=retry_limit)


def http_until(limit: timedelta, attempt_seconds: float) -> ActivityConfig:
    """Return the policy of a request that may be repeated: try until `limit` is over."""
    return ActivityConfig(
        start_to_close_timeout=timedelta(seconds=attempt_seconds) + _ATTEMPT_SLACK,
        schedule_to_close_timeout=limit,
        heartbeat_timeout=_SOON,
        retry_policy=TRANSIENT_BACKOFF,
    )


def http_once(attempt_seconds: float) -> ActivityConfig:
    """Return the policy of a request that must not be repeated blindly.

    The workflow decides on the next attempt itself, since only it can tell an attempt that
    failed before it was processed from one whose outcome is unknown.
    """
    return ActivityConfig(
        start_to_close_timeout=timedelta(seconds=attempt_seconds) + _ATTEMPT_SLACK,
        heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        retry_policy=RetryPolicy(maximum_attempts=1),
    )


def page_slice(limit: timedelta, working: timedelta, attempt_seconds: float) -> ActivityConfig:
    """Return the policy of a step that works for a while on pages, and goes on where it was.

    Args:
        limit: How long it goes on trying besides.
        working: How long it works.
        attempt_seconds: Seconds that one request may take. One is under way and one may follow
            when the time is over.
    """
    return ActivityConfig(
        start_to_close_timeout=working
        + timedelta(seconds=2 * attempt_seconds)
        + 2 * _ATTEMPT_SLACK,
        schedule_to_close_timeout=working + limit,
        heartbeat_timeout=_SOON,
        retry_policy=_PAGES_BACKOFF,
    )


def step(limit: timedelta) -> ActivityConfig:
    """Return the policy of a `nango.run` step: repeated only when its process died."""
    return ActivityConfig(
        start_to_close_timeout=limit,
        schedule_to_close_timeout=limit,
        heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        retry_policy=TRANSIENT_BACKOFF,
    )


def webhook_delivery(patience: timedelta, attempt_seconds: float) -> ActivityConfig:
    """Return the policy of a webhook: 2 s between attempts, doubled, up to 30 min."""
    return ActivityConfig(
        start_to_close_timeout=timedelta(seconds=attempt_seconds) + _ATTEMPT_SLACK,
        schedule_to_close_timeout=patience,
        heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        retry_policy=_WEBHOOK_BACKOFF,
    )


def backoff(attempt: int) -> timedelta:
    """Return the wait after the given failed attempt, counted from 1, as Temporal computes it."""
    policy = TRANSIENT_BACKOFF
    longest = policy.maximum_interval or timedelta(minutes=10)
    exponent = min(attempt - 1, 32)
    return min(policy.initial_interval * policy.backoff_coefficient**exponent, longest)
