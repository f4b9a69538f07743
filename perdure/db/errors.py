"""The one place where errors of Postgres become errors of the engine.

What may succeed when it is tried again becomes `UnavailableError`, which Temporal retries and the
API answers with 503. What the caller sent and Postgres cannot hold becomes `InvalidInputError`.
Everything else is a fault of ours and passes through as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from perdure.errors import InvalidInputError, UnavailableError

__all__ = ["mapped_errors"]

_TRANSIENT = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCachedStatementError,
    OSError,
    TimeoutError,
)
_UNSTORABLE = (asyncpg.UntranslatableCharacterError, asyncpg.CharacterNotInRepertoireError)


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Map what is raised inside.

    Raises:
        UnavailableError: `database_unavailable`: Postgres does not answer, is shutting down, has
            no room, or ended the transaction in favour of another one.
        InvalidInputError: `unstorable_text`: a value holds a NUL character or is no valid Unicode.
    """
    try:
        yield
    except _TRANSIENT as error:
        raise _unavailable(error) from error
    except _UNSTORABLE as error:
        raise _unstorable() from error
    except asyncpg.InterfaceError as error:
        if isinstance(error.__cause__, UnicodeEncodeError):
            raise _unstorable() from error
        # This very class says that a connection or the pool is closed; its subclasses speak of
        # arguments that do not fit, which no repetition mends.
        if type(error) is not asyncpg.InterfaceError:
            raise
        raise _unavailable(error) from error


def _unstorable() -> InvalidInputError:
    msg = "A value holds a NUL character or an unpaired surrogate, which cannot be stored."
    return InvalidInputError(msg, code="unstorable_text")


def _unavailable(error: BaseException) -> UnavailableError:
    msg = f"Postgres cannot carry this out at present ({type(error).__name__})."
    return UnavailableError(msg, code="database_unavailable")
