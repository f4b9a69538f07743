"""What `perdure migrate` does; each step finds nothing to do when it is done again."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

from temporalio.converter import DataConverter
from temporalio.service import RPCError

from config.settings import Settings
from perdure.app.container import key_ring, temporal_client
from perdure.db.database import Database
from perdure.db.migrate import migrate
from perdure.errors import NotFoundError, StartupError
from perdure.temporal.client import register_search_attributes
from perdure.temporal.plugin import PerdurePlugin

__all__ = ["bring_up_to_date"]

_ENVIRONMENT = "dev"


async def bring_up_to_date(settings: Settings) -> AsyncIterator[str]:
    """Prepare database and Temporal for this version.

    Yields:
        What was done, a sentence each.

    Raises:
        StartupError: A setting is missing or wrong.
        UnavailableError: Postgres does not answer.
    """
    secret_key = _secret_key(settings)
    applied = await migrate(settings.database_url.get_secret_value())
    if applied:
        yield f"Database: applied {', '.join(applied)}."
    else:
        yield "Database: up to date."
    yield await _ensure_environment(settings, secret_key)
    yield await _prepare_temporal(settings)


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


async def _prepare_temporal(settings: Settings) -> str:
    address, namespace = settings.temporal_address, settings.temporal_namespace
    try:
        # Nothing with a payload is sent.
        client = await temporal_client(settings, PerdurePlugin(DataConverter.default))
        registered = await register_search_attributes(client)
    except StartupError as error:
        return f"Temporal: not prepared, run this again when it is up ({error.message})."
    except RPCError as error:
        return (
            f"Temporal: {address} answers, but the namespace {namespace!r} could not be prepared "
            f"({error.status.name.lower()})."
        )
    if registered:
        return f"Temporal: registered {', '.join(registered)}."
    return "Temporal: up to date."
