"""Connections as the other activities need them: with their provider and credentials.

Credentials are read here and used here. They reach a history only where a script asked for them,
and then encrypted.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from temporalio import activity

from activities.credential_keeper import CredentialKeeper
from perdure.clock import utcnow
from perdure.connections.client_credentials import ClientCredentials
from perdure.connections.credentials import (
    Credentials,
    access_token_of,
    reveal_credentials,
    token_of,
)
from perdure.db.connections import Connection, ConnectionStore
from perdure.db.record_sets import RecordSetStore
from perdure.errors import NotFoundError
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.providers.provider import Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.temporal.payloads import ConnectionInput, Payload

__all__ = [
    "ConnectionActivities",
    "ConnectionAsk",
    "ConnectionRef",
    "ConnectionResolver",
    "ConnectionView",
    "MetadataInput",
    "MetadataView",
    "ResolvedConnection",
    "TokenView",
]

ValueT = TypeVar("ValueT")

_Name: TypeAlias = tuple[int, str, str]

_MEMO_SECONDS = 60.0
_MEMO_SIZE = 10_000
_ERASED_AT_ONCE = 10_000


class ConnectionRef(Payload):
    """Names a connection; holds nothing of it.

    Attributes:
        key: Its row id, None where it is not known; a later one of the same name has another.
        version: The least version of its credentials that will do.
        environment: Name of the environment, for logs.
        script: Script that asks, for logs.
    """

    environment_id: int
    integration: str
    connection_id: str
    key: int | None = None
    version: int = 0
    environment: str = ""
    script: str = ""

    @property
    def name(self) -> tuple[int, str, str]:
        """What it names, whatever the version."""
        return self.environment_id, self.integration, self.connection_id


class ConnectionAsk(ConnectionRef):
    """Asks for a connection with its credentials.

    Attributes:
        force_refresh: Whether they are refreshed before, though they may be good.
        refresh_token: Whether what renews them is told, too.
        refresh_github_app_jwt_token: Whether that is told with which an app shows who it is.
    """

    force_refresh: bool = False
    refresh_token: bool = False
    refresh_github_app_jwt_token: bool = False


class ConnectionView(Payload):
    """A connection as scripts see it. It is encrypted wherever it travels.

    Attributes:
        connection: Everything but the credentials.
        credentials: `type` and the fields of that type.
    """

    connection: dict[str, Any]
    credentials: dict[str, Any]

    def holds_secret(self) -> bool:
        """See base class."""
        return True


class TokenView(Payload):
    """What a connection authenticates with. It is encrypted wherever it travels."""

    token: str | dict[str, Any]

    def holds_secret(self) -> bool:
        """See base class."""
        return True


class MetadataView(Payload):
    """A connection's metadata."""

    metadata: dict[str, Any]


class MetadataInput(Payload):
    """Metadata for a connection.

    Attributes:
        sealed: Whether it carries a secret.
    """

    connection: ConnectionRef
    metadata: dict[str, Any]
    sealed: bool = False

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


@dataclass(frozen=True, slots=True)
class ResolvedConnection:
    """What an outbound request needs to know of a connection.

    Attributes:
        client: What its integration authenticates with; OAuth 1 signs with it.
        good_until: From then on the credentials are to be asked for anew, None for never.
    """

    connection: Connection
    provider: Provider
    credentials: Credentials
    client: ClientCredentials
    good_until: datetime | None = None


class ConnectionResolver:
    """Resolves names to connections; what it found is good for a minute, or until it expires.

    Args:
        store: Connections.
        catalog: Providers.
        keeper: Keeps credentials good for use.
    """

    def __init__(
        self, store: ConnectionStore, catalog: ProviderCatalog, keeper: CredentialKeeper
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._keeper = keeper
        self._memo: OrderedDict[_Name, tuple[float, ResolvedConnection]] = OrderedDict()
        self._hopeless: OrderedDict[_Name, tuple[float, str]] = OrderedDict()

    async def resolve(self, ref: ConnectionRef, *, fresh: bool = False) -> ResolvedConnection:
        """Return a connection with provider and credentials.

        Args:
            ref: Its name.
            fresh: Read it anew even if it was read a moment ago.

        Raises:
            NotFoundError: `unknown_connection`, `unknown_provider_config` or `unknown_provider`.
            CredentialsError: Its credentials have ended, and the provider refuses to renew them.
            UpstreamError: They have ended and cannot be renewed at present.
        """
        known = None if fresh else self._memo.get(ref.name)
        if known is not None and _is_young(known[0]) and _will_do(known[1], ref):
            return known[1]
        return await self._resolve(ref, None)

    async def provider(self, ref: ConnectionRef) -> Provider:
        """Return the provider of a connection, whatever its credentials are worth.

        Raises:
            NotFoundError: As `resolve`.
        """
        if known := self._memo.get(ref.name):
            return known[1].provider
        connection = await self._store.get(
            EnvironmentId(ref.environment_id), ref.integration, ref.connection_id
        )
        return self._catalog.get(connection.provider)

    async def renew(self, ref: ConnectionRef, refused: Credentials) -> ResolvedConnection | None:
        """Return a connection with other credentials than those that its API refused.

        They are refreshed if nobody has done so yet. Where a token was refused that was new, it
        is not the token that is wrong; no further one is fetched for a minute.

        Args:
            ref: Its name.
            refused: What the request was made with.

        Returns:
            None where there are no others.

        Raises:
            CredentialsError: As `resolve`.
            UpstreamError: They cannot be renewed at present.
        """
        self._memo.pop(ref.name, None)
        at, token = self._hopeless.get(ref.name, (0.0, None))
        if token is not None and _is_young(at) and token == access_token_of(refused):
            return None
        resolved = await self._resolve(ref, refused)
        return None if resolved.credentials == refused else resolved

    def note_hopeless(self, ref: ConnectionRef, refused: Credentials) -> None:
        """Note that credentials were refused that had just been renewed."""
        self._memo.pop(ref.name, None)
        if token := access_token_of(refused):
            _put(self._hopeless, ref.name, (time.monotonic(), token))

    async def _resolve(self, ref: ConnectionRef, refused: Credentials | None) -> ResolvedConnection:
        now = time.monotonic()
        connection = await self._store.get(
            EnvironmentId(ref.environment_id), ref.integration, ref.connection_id
        )
        kept = await self._keeper.keep(connection, refused=refused)
        resolved = ResolvedConnection(
            connection=connection,
            provider=self._catalog.get(connection.provider),
            credentials=kept.credentials,
            client=await self._keeper.client(connection),
            good_until=kept.good_until,
        )
        _put(self._memo, ref.name, (now, resolved))
        return resolved


def _put(memo: OrderedDict[_Name, ValueT], name: _Name, value: ValueT) -> None:
    memo[name] = value
    memo.move_to_end(name)
    if len(memo) > _MEMO_SIZE:
        memo.popitem(last=False)


def _is_young(at: float) -> bool:
    return time.monotonic() - at < _MEMO_SECONDS


def _will_do(known: ResolvedConnection, ref: ConnectionRef) -> bool:
    """Say whether what is remembered is the connection that is meant, not an earlier state."""
    connection = known.connection
    if known.good_until is not None and utcnow() >= known.good_until:
        return False
    return ref.key in (None, connection.key) and connection.credentials_version >= ref.version


class ConnectionActivities:
    """Steps that read and change connections for scripts.

    Args:
        store: Connections.
        record_sets: What is erased with a connection.
        keeper: Keeps credentials good for use.
    """

    def __init__(
        self, store: ConnectionStore, record_sets: RecordSetStore, keeper: CredentialKeeper
    ) -> None:
        self._store = store
        self._record_sets = record_sets
        self._keeper = keeper

    @activity.defn
    async def get_connection(self, ask: ConnectionAsk) -> ConnectionView:
        """Return a connection with its credentials, refreshed where that is due.

        Raises:
            CredentialsError: They have ended, and the provider refuses to renew them.
            UpstreamError: They have ended and cannot be renewed at present.
        """
        connection = await self._get(ask)
        credentials = await self._keeper.shown(
            connection,
            force=ask.force_refresh,
            refresh_token=ask.refresh_token,
            app_jwt=ask.refresh_github_app_jwt_token,
        )
        return ConnectionView(
            connection={
                "id": connection.key,
                "connection_id": connection.connection_id,
                "provider_config_key": connection.integration,
                "provider": connection.provider,
                "created_at": connection.created_at,
                "updated_at": connection.updated_at,
                "metadata": connection.metadata,
                "connection_config": connection.connection_config,
                "tags": connection.tags,
                "end_user": connection.end_user,
            },
            credentials=credentials,
        )

    @activity.defn
    async def get_token(self, ref: ConnectionRef) -> TokenView:
        """Return what a connection authenticates with, refreshed where that is due.

        Raises:
            CredentialsError: As `get_connection`, as the next.
            UpstreamError: As `get_connection`.
        """
        credentials = await self._keeper.fresh(await self._get(ref))
        return TokenView(token=token_of(reveal_credentials(credentials)))

    @activity.defn
    async def get_metadata(self, ref: ConnectionRef) -> MetadataView:
        """Return a connection's metadata."""
        return MetadataView(metadata=(await self._get(ref)).metadata or {})

    @activity.defn
    async def set_metadata(self, given: MetadataInput) -> None:
        """Replace a connection's metadata."""
        ref = given.connection
        await self._store.set_metadata(
            EnvironmentId(ref.environment_id), ref.integration, [ref.connection_id], given.metadata
        )

    @activity.defn
    async def update_metadata(self, given: MetadataInput) -> None:
        """Set single keys of a connection's metadata."""
        ref = given.connection
        await self._store.merge_metadata(
            EnvironmentId(ref.environment_id), ref.integration, [ref.connection_id], given.metadata
        )

    @activity.defn
    async def delete_connection(self, target: ConnectionInput) -> None:
        """Delete a connection with its syncs and records; one that is gone already is fine."""
        key = ConnectionKey(target.connection_key)
        # In short transactions, so that nobody waits for long.
        for records in await self._record_sets.list([key]):
            erased = _ERASED_AT_ONCE
            while erased == _ERASED_AT_ONCE:
                erased = await self._record_sets.erase(
                    records, bundle=None, keepers=(), limit=_ERASED_AT_ONCE
                )
        with suppress(NotFoundError):
            connection = await self._store.by_key(key)
            await self._store.delete(
                connection.environment_id, connection.integration, connection.connection_id
            )

    async def _get(self, ref: ConnectionRef) -> Connection:
        return await self._store.get(
            EnvironmentId(ref.environment_id), ref.integration, ref.connection_id
        )
