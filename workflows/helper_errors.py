"""What a failed step becomes for the script that asked for it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import NoReturn

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    TerminatedError,
    is_cancelled_exception,
)

with workflow.unsafe.imports_passed_through():
    from perdure.nango import ActionError, HelperError, HttpError, Response
    from perdure.temporal import policies
    from perdure.temporal.failures import leaf_failure

__all__ = [
    "is_outcome_unknown",
    "raise_fetch_error",
    "raise_helper_error",
    "raise_http_error",
    "raise_page_error",
    "raise_run_error",
    "wait_before_repeating",
]


_REFUSED_URLS = {
    "invalid_redirect": "invalid_redirect",
    "invalid_url": "url_not_allowed",
    "too_many_redirects": "too_many_redirects",
    "url_not_allowed": "url_not_allowed",
}
_GIVEN_UP = "The request was given up: its outcome is unknown, or no attempt succeeded in time"


def raise_http_error(error: ActivityError) -> NoReturn:
    """Raise what a script sees of a request that failed for good.

    Raises:
        HttpError: The API refused it, or no attempt succeeded in time.
        HelperError: The request could not be made as it was.
        asyncio.CancelledError: The run is being cancelled.
    """
    _pass_cancellation(error)
    leaf = leaf_failure(error)
    if not isinstance(leaf, ApplicationError):
        raise HttpError(_GIVEN_UP) from error
    details = leaf.details[0] if leaf.details else None
    if not isinstance(details, dict) or "status" not in details:
        if leaf.non_retryable:
            raise HelperError(leaf.message, code=leaf.type or "server_error") from error
        raise HttpError(f"{_GIVEN_UP}: {leaf.message}") from error
    response = None
    if details["status"] is not None:
        response = Response(details["status"], details["headers"], details["body"])
    raise HttpError(leaf.message, response) from error


def raise_fetch_error(error: ActivityError) -> NoReturn:
    """Raise what a script sees of a request without credentials that got no answer.

    Raises:
        ActionError: Its `code` says what is wrong with the URL, or with where it leads.
        HttpError: Nothing answered.
        HelperError: The request could not be made as it was.
        asyncio.CancelledError: The run is being cancelled.
    """
    leaf = leaf_failure(error)
    if isinstance(leaf, ApplicationError) and leaf.type in _REFUSED_URLS:
        code = _REFUSED_URLS[leaf.type]
        raise ActionError({"code": code, "message": leaf.message}) from error
    raise_http_error(error)


def raise_helper_error(error: ActivityError | ChildWorkflowError) -> NoReturn:
    """Raise what a script sees of any other step that failed for good.

    Raises:
        ActionError: A function called by `nango.run` raised it.
        HelperError: With the code of the failure.
        asyncio.CancelledError: The run is being cancelled.
    """
    _pass_cancellation(error)
    leaf = leaf_failure(error)
    if isinstance(leaf, ApplicationError):
        details = leaf.details[0] if leaf.details else None
        if leaf.type == "action_script_runtime_error" and isinstance(details, dict):
            raise ActionError(details.get("payload")) from error
        raise HelperError(leaf.message, code=leaf.type or "server_error") from error
    raise HelperError(str(leaf), code="server_error") from error


def raise_page_error(error: ActivityError) -> NoReturn:
    """Raise what a script sees of pages that could not all be saved.

    Raises:
        HttpError: The API refused a page, or no attempt succeeded in time.
        ActionError: A function of the script raised it.
        HelperError: Anything else, with the code of the failure.
        asyncio.CancelledError: The run is being cancelled.
    """
    leaf = leaf_failure(error)
    if isinstance(leaf, ApplicationError):
        details = leaf.details[0] if leaf.details else None
        if not isinstance(details, dict) or "status" not in details:
            raise_helper_error(error)
    raise_http_error(error)


def raise_run_error(error: ChildWorkflowError) -> NoReturn:
    """Raise what a script sees of an action that it triggered and that did not succeed.

    Raises:
        ActionError: The action raised it.
        HttpError: An external API refused the action, which did not handle it.
        HelperError: With the code of whatever else made it fail.
        asyncio.CancelledError: The run is being cancelled.
    """
    task = asyncio.current_task()
    if is_cancelled_exception(error):
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from error
        msg = "The action was cancelled."
        raise HelperError(msg, code="run_cancelled") from error
    leaf = leaf_failure(error)
    if isinstance(leaf, TerminatedError):
        raise HelperError(leaf.message, code="run_terminated") from error
    details = leaf.details[0] if isinstance(leaf, ApplicationError) and leaf.details else None
    if isinstance(leaf, ApplicationError) and leaf.type == "script_http_error":
        upstream = details.get("upstream") if isinstance(details, dict) else None
        response = None
        if upstream is not None:
            response = Response(upstream["status"], upstream["headers"], upstream["body"])
        raise HttpError(leaf.message, response) from error
    raise_helper_error(error)


def is_outcome_unknown(error: ActivityError) -> bool:
    """Say whether an attempt ended without anybody hearing what it did, as when its worker died."""
    cause = error.cause
    if is_cancelled_exception(error):
        return False
    if not isinstance(cause, ApplicationError):
        return True
    return not cause.non_retryable and not cause.details


def wait_before_repeating(error: ActivityError, attempt: int) -> timedelta | None:
    """Return how long to wait before a write is repeated, None where it must not be.

    Args:
        error: Why the attempt failed.
        attempt: Its number, counted from 1.
    """
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return None
    # Only the provider's answer can say that it did not act. A worker that stops, or a result
    # that could not be stored, says nothing about what the request did.
    details = cause.details[0] if cause.details else None
    if not isinstance(details, dict) or details.get("repeatable") is not True:
        return None
    return cause.next_retry_delay or policies.backoff(attempt)


def _pass_cancellation(error: BaseException) -> None:
    # As asyncio has it, so that a script's `except Exception` does not swallow it.
    if is_cancelled_exception(error):
        raise asyncio.CancelledError from error
