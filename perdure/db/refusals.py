"""Writes that come too late: of a run that has ended, of an attempt that a newer one has overtaken.

A statement that finds this out after its work calls `refuse_write`, which undoes all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from perdure.errors import ConflictError, UnavailableError

__all__ = ["attempt_superseded", "refusals", "run_ended"]

# As `refuse_write` is given them.
_RUN_ENDED, _ATTEMPT_SUPERSEDED = "PD001", "PD002"


def run_ended(run_id: str | None) -> ConflictError:
    """Return the error of a step that outlived its run."""
    msg = f"The run {run_id} has ended; what a step of it still meant to write was not."
    return ConflictError(msg, code="run_ended")


def attempt_superseded() -> UnavailableError:
    """Return the error of an attempt that lives on beside a newer one."""
    # Should clocks disagree, the next attempt is the newer one again.
    msg = "A newer attempt of this step goes on with it."
    return UnavailableError(msg, code="attempt_superseded")


@contextmanager
def refusals(run_id: str | None) -> Iterator[None]:
    """Map what `refuse_write` raises inside.

    Args:
        run_id: Whose step writes.

    Raises:
        UnavailableError: `attempt_superseded`.
        ConflictError: `run_ended`.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        if error.sqlstate == _RUN_ENDED:
            raise run_ended(run_id) from None
        if error.sqlstate == _ATTEMPT_SUPERSEDED:
            raise attempt_superseded() from None
        raise
