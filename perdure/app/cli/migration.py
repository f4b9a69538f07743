"""What `perdure migrate` does; each step finds nothing to do when it is done again."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import structlog
from temporalio.converter import DataConverter
from temporalio.service import RPCError

from config.settings import Settings
from perdure.app.container import key_ring, temporal_client
from perdure.db.database import Database
from perdure.db.migrate import migrate
from perdure.errors import NotFoundError, StartupError
from perdure.temporal.client import register_search_attributes, unavailable
from perdure.temporal.names import SEARCH_ATTRIBUTES
from perdure.temporal.plugin import PerdurePlugin

__all__ = ["bring_up_to_date"]

_ENVIRONMENT = "dev"
_PATIENCE = 30.0
_LOOK_EVERY = 1.0

log = structlog.get_logger(__name__)


async def bring_up_to_date(settings: Settings, patience: float = _PATIENCE) -> AsyncIterator[str]:
    """Prepare database and Temporal for this version.

    Args:
        settings: As read from the environment.
        patience: Seconds to wait for Temporal, which may be starting at this moment.

    Yields:
        What was done, a sentence each.

    Raises:
        StartupError: A setting is missing or wrong, or the database is up to date and Temporal
            could not be prepared (`temporal_not_prepared`).
        UnavailableError: Postgres does not answer.
    """
    secret_key = _secret_key(settings)
    applied = await migrate(settings.database_url.get_secret_value())
    if applied:
        yield f"Database: applied {', '.join(applied)}."
    else:
        yield "Database: up to date."
    yield await _ensure_environment(settings, secret_key)
    yield await _prepare_temporal(settings, patience)


def _secret_key(settings: Settings) -> str | None:
    if settings.secret_key is None:
        return None
    text = settings.secret_key.get_secret_value()
    try:
        return str(uuid.UUID(text))
    except ValueError:
        msg = "PERDURE_SECRET_KEY must be a UUID, such as `python -m uuid` prints."
        raise StartupError(msg, code="invalid_settings") from None


async def _ensure_environment(settings: Settings, secret_key: str | None) -> str:
    async with Database.open(
        settings.database_url.get_secret_value(),
        keyring=key_ring(settings),
        pool_size=2,
        application_name="perdure-migrate",
    ) as database:
        if secret_key is not None:
            await database.environments.ensure(_ENVIRONMENT, secret_key)
            return f"Environment {_ENVIRONMENT}: has the key PERDURE_SECRET_KEY."
        try:
            await database.environments.by_name(_ENVIRONMENT)
        except NotFoundError:
            return (
                f"Environment {_ENVIRONMENT}: missing; set PERDURE_SECRET_KEY and run this again."
            )
        return f"Environment {_ENVIRONMENT}: keeps its key."


async def _prepare_temporal(settings: Settings, patience: float) -> str:
    try:
        registered = await _registered(settings, patience)
    except StartupError as error:
        raise _not_prepared(error.message) from error
    except RPCError as error:
        why = (
            f"{settings.temporal_address} answers, but the namespace "
            f"{settings.temporal_namespace!r} could not be prepared ({error.status.name.lower()})"
        )
        raise _not_prepared(why) from error
    if registered:
        return f"Temporal: registered {', '.join(registered)}."
    return "Temporal: up to date."


async def _registered(settings: Settings, patience: float) -> list[str]:
    give_up_at = time.monotonic() + patience
    told = False
    while True:
        try:
            # Nothing with a payload is sent.
            client = await temporal_client(settings, PerdurePlugin(DataConverter.default))
            return await register_search_attributes(client)
        except (StartupError, RPCError) as error:
            is_away = isinstance(error, StartupError) or unavailable(error) is not None
            if not is_away or time.monotonic() >= give_up_at:
                raise
        if not told:
            log.warning("waiting_for_temporal", patience_seconds=patience)
            told = True
        await asyncio.sleep(_LOOK_EVERY)


def _not_prepared(why: str) -> StartupError:
    names = ", ".join(key.name for key in SEARCH_ATTRIBUTES)
    msg = (
        f"The database is up to date, but Temporal is not: {why}. No run can be started without "
        f"its search attributes ({names}). Run `perdure migrate` again once that is mended; where "
        "it may not register them, add them by hand first, as keywords."
    )
    return StartupError(msg, code="temporal_not_prepared")
