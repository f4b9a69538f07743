"""The one place where errors of Postgres become errors of the engine.

What may succeed when it is tried again becomes `UnavailableError`, which Temporal retries and the
API answers with 503. What the caller sent and Postgres cannot hold becomes `InvalidInputError`.
A URL, account or database that does not exist becomes `StartupError`. Everything else is a fault
of ours and passes through as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from perdure.errors import InvalidInputError, StartupError, UnavailableError

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
    # Of a connection that Postgres is just ending: nothing was sent over it.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
_REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
_UNSTORABLE = (
    asyncpg.UntranslatableCharacterError,
    asyncpg.CharacterNotInRepertoireError,
    # Texts that Postgres parses are JSON that we encoded: only an unpaired surrogate is wrong.
    asyncpg.InvalidTextRepresentationError,
)


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Map what is raised inside.

    Raises:
        UnavailableError: `database_unavailable`: Postgres does not answer, is shutting down, has
            no room, or ended the transaction in favour of another one.
        InvalidInputError: `unstorable_text`: a value holds a NUL character or is no valid Unicode.
        StartupError: `database_refused` or `invalid_database_url`: no connection with this URL.
    """
    try:
        yield
    except _TRANSIENT as error:
        raise _unavailable(error) from error
    except asyncpg.DataError as error:
        if isinstance(error, _UNSTORABLE) or isinstance(error.__cause__, UnicodeEncodeError):
            msg = "A value holds a NUL character or an unpaired surrogate: it cannot be stored."
            raise InvalidInputError(msg, code="unstorable_text") from error
        raise
    except _REFUSED as error:
        msg = f"PERDURE_DATABASE_URL leads to a server that refuses us: {error}."
        raise StartupError(msg, code="database_refused") from error
    except asyncpg.ClientConfigurationError:
        # Its text may quote the URL, which may hold a password.
        msg = "PERDURE_DATABASE_URL is not a postgresql:// URL that can be used."
        raise StartupError(msg, code="invalid_database_url") from None
    except asyncpg.InterfaceError as error:
        # This very class says that a connection or the pool is closed; its subclasses speak of
        # arguments that do not fit, which no repetition mends.
        if type(error) is not asyncpg.InterfaceError:
            raise
        raise _unavailable(error) from error


def _unavailable(error: BaseException) -> UnavailableError:
    msg = f"Postgres cannot carry this out at present ({type(error).__name__})."
    return UnavailableError(msg, code="database_unavailable")
