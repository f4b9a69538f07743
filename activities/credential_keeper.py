"""Hands out credentials that are good for use, and refreshes those that are not.

Whoever needs credentials asks here: runs, the proxy, the API. However many ask at once, in however
many processes, a connection is refreshed by one of them; the others wait and take what it got.
New credentials are stored before anybody uses them.

What goes wrong while the provider does not answer is transient: credentials that have not ended
yet are used on, and otherwise whoever asks is told to come again. What the provider refuses stands
against the connection until it is authorized anew.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import structlog
from temporalio import activity

from activities.refresh_refusals import is_told, later, refuse
from activities.webhook_outbox import WebhookOutbox
from perdure.auth.tokens import AuthTarget, TokenClient, TokenError, can_be_refreshed
from perdure.clock import utcnow
from perdure.connections.client_credentials import ClientCredentials
from perdure.connections.credentials import (
    AppCredentials,
    Credentials,
    OAuth2Credentials,
    access_token_of,
    parse_credentials,
    reveal_credentials,
)
from perdure.connections.refreshing import (
    BACKOFF,
    BUFFER,
    Advice,
    Standing,
    after_failure,
    without_refresh_token,
)
from perdure.db.connections import Connection
from perdure.db.credential_refreshes import StoredCredentials
from perdure.db.database import Database
from perdure.errors import (
    InvalidInputError,
    PerdureError,
    UnavailableError,
)
from perdure.ids import ConnectionKey
from perdure.observability.metrics import CREDENTIAL_REFRESHES
from perdure.providers.provider import Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.records.canonical import JsonObject
from perdure.temporal.names import WorkflowType

__all__ = ["CredentialKeeper", "KeptCredentials"]

# A process that dies while it refreshes keeps the others waiting for so long.
_LEASE = timedelta(seconds=10)
_PROLONG_SECONDS = 3.0
# Longer than anybody waits: an answer that nobody hears may cost the refresh token.
_CALL_SECONDS = 60.0
_PATIENCE_SECONDS = 25.0
_CLOSE_SECONDS = 30.0
_POLL_SECONDS = (0.05, 0.5)
_STORE_SECONDS = 600.0
_STORE_PAUSE_SECONDS = (0.2, 5.0)

# Their runs are ours to show; nobody can look up one of the others.
_SCRIPTS = {
    WorkflowType.SYNC,
    WorkflowType.ACTION,
    WorkflowType.ON_EVENT,
    WorkflowType.WEBHOOK,
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeptCredentials:
    """Credentials that are good for use.

    Attributes:
        credentials: The credentials.
        good_until: From then on they are to be asked for anew, None where they do not end.
        refreshed_at: When they were refreshed, None where somebody gave them.
    """

    credentials: Credentials
    good_until: datetime | None
    refreshed_at: datetime | None


class CredentialKeeper:
    """Keeps the credentials of connections good for use.

    It is open for as long as its context lasts; a refresh under way is waited for at the end.

    Args:
        database: Our own data.
        catalog: Providers.
        tokens: Asks providers for tokens.
        backoff: How long nothing is tried after a refresh that failed.
    """

    def __init__(
        self,
        database: Database,
        catalog: ProviderCatalog,
        tokens: TokenClient,
        *,
        backoff: timedelta = BACKOFF,
    ) -> None:
        self._database = database
        self._store = database.credential_refreshes
        self._catalog = catalog
        self._tokens = tokens
        self._backoff = backoff
        self._outbox = WebhookOutbox(database)
        self._flights: dict[ConnectionKey, asyncio.Task[StoredCredentials]] = {}

    async def __aenter__(self) -> Self:
        """Open it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait as `settled`."""
        await self.settled()

    async def settled(self) -> None:
        """Wait for what is under way: what a provider issues exists nowhere else yet."""
        if self._flights:
            await asyncio.wait(self._flights.values(), timeout=_CLOSE_SECONDS)

    async def fresh(
        self, connection: Connection, *, force: bool = False, refused: Credentials | None = None
    ) -> Credentials:
        """Return credentials that are good for use, refreshed where that is due.

        Args:
            connection: Whose.
            force: Refresh them even if they are good, and even if that failed a moment ago.
            refused: Credentials that the provider's API refused: they are refreshed if they are
                still the ones that are stored. Those of a kind that has nothing to refresh are
                returned as they are stored.

        Raises:
            CredentialsError: `invalid_credentials`, `connection_refresh_backoff` or
                `connection_refresh_exhausted`: they are of no use any more, and the provider
                refuses to renew them.
            UpstreamError: `connection_refresh_backoff`: they are of no use and cannot be renewed
                at present; the error says when to try again.
            NotFoundError: `unknown_connection`, it was deleted meanwhile.
        """
        return (await self.keep(connection, force=force, refused=refused)).credentials

    async def keep(
        self, connection: Connection, *, force: bool = False, refused: Credentials | None = None
    ) -> KeptCredentials:
        """As `fresh`, and tell how long they are good."""
        provider = self._catalog.get(connection.provider)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await self._keep(connection, provider, force=force, refused=refused)
        except TimeoutError as error:
            msg = (
                f"The credentials of {connection.connection_id!r} are being refreshed, which takes "
                "longer than usual."
            )
            raise later(msg, timedelta(seconds=1)) from error

    async def shown(
        self,
        connection: Connection,
        *,
        force: bool = False,
        refresh_token: bool = False,
        app_jwt: bool = False,
    ) -> JsonObject:
        """Return credentials that are good for use as those may read them whom they belong to.

        Args:
            connection: Whose.
            force: As in `fresh`.
            refresh_token: Whether what renews them is among them.
            app_jwt: Whether `jwtToken` is, with which the app of an `APP` connection shows who
                it is.

        Raises:
            CredentialsError: As `fresh`, and the next two.
            UpstreamError: The integration has no app, too.
            NotFoundError: `unknown_connection`.
        """
        credentials = await self.fresh(connection, force=force)
        revealed = reveal_credentials(credentials)
        shown = revealed if refresh_token else without_refresh_token(revealed)
        if app_jwt and isinstance(credentials, AppCredentials):
            target = await self._target(connection, self._catalog.get(connection.provider))
            shown["jwtToken"] = self._tokens.app_jwt(target, credentials)
        return shown

    async def client(self, connection: Connection) -> ClientCredentials:
        """Return what a connection's integration authenticates with.

        Raises:
            NotFoundError: `unknown_provider_config`, it was deleted meanwhile.
        """
        name = connection.environment_id, connection.integration
        integration = await self._database.integrations.get(*name)
        return ClientCredentials.of(
            await self._database.integrations.credentials(*name), integration.integration_config
        )

    async def _keep(
        self,
        connection: Connection,
        provider: Provider,
        *,
        force: bool,
        refused: Credentials | None,
    ) -> KeptCredentials:
        stored = await self._store.read(connection)
        while True:
            credentials = parse_credentials(stored.credentials)
            standing = _standing(provider, stored, credentials)
            kept = KeptCredentials(credentials, standing.good_until, stored.refreshed_at)
            if not can_be_refreshed(provider, credentials):
                return kept
            token = access_token_of(credentials)
            is_refused = refused is not None and access_token_of(refused) == token
            advice = standing.advise(utcnow(), force=force, is_refused=is_refused)
            if advice is Advice.USE:
                return kept
            if advice is Advice.REFUSE:
                refuse(connection, stored.failure)
            before = stored
            stored = await self._refreshed(connection, provider, before)
            if stored.state == before.state:
                continue  # the refresh that was waited for had ended before this began
            if stored.revision != before.revision:
                # Somebody may have given others, whose standing is another matter.
                force, refused = False, None
                if stored.refreshed_at is not None:
                    return _kept(provider, stored)
            elif stored.failure is not None:
                advice = standing.without_refresh(utcnow(), is_refused=is_refused)
                if force or advice is Advice.REFUSE:
                    refuse(connection, stored.failure, is_new=True)
                return kept

    async def _refreshed(
        self, connection: Connection, provider: Provider, stored: StoredCredentials
    ) -> StoredCredentials:
        """Have credentials refreshed, by one for all who wait in this process."""
        flight = self._flights.get(connection.key)
        if flight is None:
            flight = asyncio.create_task(self._fly(connection, provider, stored))
            self._flights[connection.key] = flight
            flight.add_done_callback(_note_unheard)
        # Whoever waits may be cancelled. The refresh goes on, or what it gets would be lost.
        return await asyncio.shield(flight)

    async def _fly(
        self, connection: Connection, provider: Provider, seen: StoredCredentials
    ) -> StoredCredentials:
        lease = uuid.uuid4()
        try:
            if changed := await self._lease(connection, lease, seen):
                return changed
            async with self._held(connection.key, lease):
                await self._refresh(connection, provider, lease, seen)
            return await self._store.read(connection)
        finally:
            del self._flights[connection.key]

    async def _lease(
        self, connection: Connection, lease: uuid.UUID, seen: StoredCredentials
    ) -> StoredCredentials | None:
        """Take the lease, or return the credentials once they are others than were seen."""
        pause, longest = _POLL_SECONDS
        while not await self._store.acquire(connection.key, lease, seen, _LEASE):
            current = await self._store.read(connection)
            if current.state != seen.state:
                return current
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
        return None

    @asynccontextmanager
    async def _held(self, key: ConnectionKey, lease: uuid.UUID) -> AsyncIterator[None]:
        """Hold the lease while the block runs."""

        async def prolong() -> None:
            while True:
                await asyncio.sleep(_PROLONG_SECONDS)
                with suppress(UnavailableError):
                    await self._store.prolong(key, lease, _LEASE)

        prolonging = asyncio.create_task(prolong())
        try:
            yield
        finally:
            prolonging.cancel()
            with suppress(asyncio.CancelledError):
                await prolonging
            with suppress(UnavailableError):
                await self._store.release(key, lease)

    async def _refresh(
        self,
        connection: Connection,
        provider: Provider,
        lease: uuid.UUID,
        seen: StoredCredentials,
    ) -> None:
        asked_at = utcnow()
        credentials = parse_credentials(seen.credentials)
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                renewed = await self._renewed(connection, provider, credentials)
        except TimeoutError:
            seconds = f"{_CALL_SECONDS:.0f} s"
            error = TokenError(
                f"The token endpoint did not answer within {seconds}.", lasting=False
            )
            await self._fail(connection, provider, lease, seen, error)
        except (TokenError, InvalidInputError) as error:
            await self._fail(connection, provider, lease, seen, error)
        else:
            await self._put(connection, lease, renewed, seen.revision, asked_at)
            _count(connection, "refreshed")
            log.info("credentials_refreshed", **_names(connection))

    async def _renewed(
        self, connection: Connection, provider: Provider, credentials: Credentials
    ) -> Credentials:
        target = await self._target(connection, provider)
        if access_token_of(credentials) is None and not isinstance(credentials, OAuth2Credentials):
            return await self._tokens.obtain(target, credentials)
        return await self._tokens.refresh(target, credentials)

    async def _target(self, connection: Connection, provider: Provider) -> AuthTarget:
        return AuthTarget(
            provider=provider,
            client=await self.client(connection),
            connection_config=connection.connection_config,
        )

    async def _put(
        self,
        connection: Connection,
        lease: uuid.UUID,
        renewed: Credentials,
        of_revision: int,
        asked_at: datetime,
    ) -> None:
        """Store what the provider issued. It exists nowhere else, so Postgres is waited for."""
        revealed = reveal_credentials(renewed)
        pause, longest = _STORE_PAUSE_SECONDS
        deadline = time.monotonic() + _STORE_SECONDS
        while True:
            try:
                stored = await self._store.store(
                    connection, lease, revealed, of_revision=of_revision, refreshed_at=asked_at
                )
            except UnavailableError:
                if time.monotonic() > deadline:
                    log.error("refreshed_credentials_lost", **_names(connection))
                    raise
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            else:
                if not stored:
                    log.info("refreshed_credentials_superseded", **_names(connection))
                return

    async def _fail(
        self,
        connection: Connection,
        provider: Provider,
        lease: uuid.UUID,
        seen: StoredCredentials,
        error: TokenError | InvalidInputError,
    ) -> None:
        lasting = error.lasting if isinstance(error, TokenError) else True
        asked_to_wait = error.retry_after if isinstance(error, TokenError) else None
        failure = after_failure(
            seen.failure,
            id=str(uuid.uuid4()),
            lasting=lasting,
            code=(error.error if isinstance(error, TokenError) else None) or error.code,
            message=error.message,
            now=utcnow(),
            wait=max(self._backoff, timedelta(seconds=asked_to_wait or 0)),
            run_id=_run_id(),
        )
        environment = await self._database.environments.by_id(connection.environment_id)
        async with self._database.transaction() as conn:
            noted = await self._store.fail(
                connection.key, lease, failure, of_revision=seen.revision, conn=conn
            )
            if noted and is_told(seen.failure, failure):
                await self._outbox.credentials_changed(
                    connection,
                    environment.name,
                    provider.auth_mode,
                    "refresh",
                    error={"type": failure.code, "message": failure.message},
                    occasion=f"refresh/{failure.id}",
                    conn=conn,
                )
        _count(connection, "refused" if lasting else "failed")
        log.warning(
            "credentials_not_refreshed",
            failure=failure.id,
            code=failure.code,
            reason=failure.message,
            lasting=lasting,
            superseded=not noted,
            **_names(connection),
        )


def _standing(provider: Provider, stored: StoredCredentials, credentials: Credentials) -> Standing:
    seconds = provider.token_expiration_buffer
    return Standing(
        has_token=access_token_of(credentials) is not None,
        expires_at=stored.expires_at,
        obtained_at=stored.refreshed_at,
        failure=stored.failure,
        buffer=BUFFER if seconds is None else timedelta(seconds=seconds),
    )


def _kept(provider: Provider, stored: StoredCredentials) -> KeptCredentials:
    credentials = parse_credentials(stored.credentials)
    standing = _standing(provider, stored, credentials)
    return KeptCredentials(credentials, standing.good_until, stored.refreshed_at)


def _run_id() -> str | None:
    if not activity.in_activity():
        return None
    info = activity.info()
    return info.workflow_run_id if info.workflow_type in _SCRIPTS else None


def _names(connection: Connection) -> dict[str, str | int]:
    return {
        "connection_key": connection.key,
        "connection_id": connection.connection_id,
        "integration": connection.integration,
        "provider": connection.provider,
    }


def _count(connection: Connection, outcome: str) -> None:
    CREDENTIAL_REFRESHES.add(integration=connection.integration, outcome=outcome)


def _note_unheard(flight: asyncio.Task[StoredCredentials]) -> None:
    """Look at how a refresh ended that nobody waits for any more."""
    if not flight.cancelled() and (error := flight.exception()) is not None:
        code = error.code if isinstance(error, PerdureError) else type(error).__name__
        log.warning("credential_refresh_broken", code=code)
