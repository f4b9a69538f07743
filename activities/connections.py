"""Connections as the other activities need them: with their provider and credentials.

Credentials are read here and used here. They reach a history only where a script asked for them,
and then encrypted.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from temporalio import activity

from activities.heartbeat import heartbeating
from perdure.connections.credentials import Credentials, parse_credentials, token_of
from perdure.db.connections import Connection, ConnectionStore
from perdure.db.record_sets import RecordSetStore
from perdure.errors import NotFoundError
from perdure.ids import ConnectionKey, EnvironmentId
from perdure.providers.provider import Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.temporal.payloads import ConnectionInput, Payload

__all__ = [
    "ConnectionActivities",
    "ConnectionRef",
    "ConnectionResolver",
    "ConnectionView",
    "MetadataInput",
    "MetadataView",
    "ResolvedConnection",
    "TokenView",
]

_Name: TypeAlias = tuple[int, str, str]

_MEMO_SECONDS = 60.0
_MEMO_SIZE = 10_000
_ERASED_AT_ONCE = 10_000


class ConnectionRef(Payload):
    """Names a connection; holds nothing of it.

    Attributes:
        key: Its row id, None where it is not known; a later one of the same name has another.
        version: The least version of its credentials that will do.
    """

    environment_id: int
    integration: str
    connection_id: str
    key: int | None = None
    version: int = 0

    @property
    def name(self) -> tuple[int, str, str]:
        """What it names, whatever the version."""
        return self.environment_id, self.integration, self.connection_id


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
    """What an outbound request needs to know of a connection."""

    connection: Connection
    provider: Provider
    credentials: Credentials


class ConnectionResolver:
    """Resolves names to connections; what it found is good for a minute.

    Args:
        store: Connections.
        catalog: Providers.
    """

    def __init__(self, store: ConnectionStore, catalog: ProviderCatalog) -> None:
        self._store = store
        self._catalog = catalog
        self._memo: OrderedDict[_Name, tuple[float, ResolvedConnection]] = OrderedDict()

    async def resolve(self, ref: ConnectionRef, *, fresh: bool = False) -> ResolvedConnection:
        """Return a connection with provider and credentials.

        Args:
            ref: Its name.
            fresh: Read it anew even if it was read a moment ago.

        Raises:
            NotFoundError: `unknown_connection`, `unknown_provider_config` or `unknown_provider`.
        """
        now = time.monotonic()
        known = None if fresh else self._memo.get(ref.name)
        if known is not None and now - known[0] < _MEMO_SECONDS and _will_do(known[1], ref):
            return known[1]
        connection = await self._store.get(
            EnvironmentId(ref.environment_id), ref.integration, ref.connection_id
        )
        resolved = ResolvedConnection(
            connection=connection,
            provider=self._catalog.get(connection.provider),
            credentials=parse_credentials(await self._store.credentials(connection)),
        )
        self._memo[ref.name] = (now, resolved)
        self._memo.move_to_end(ref.name)
        if len(self._memo) > _MEMO_SIZE:
            self._memo.popitem(last=False)
        return resolved

    def forget(self, ref: ConnectionRef) -> None:
        """Read the connection anew next time, because its credentials were refused."""
        self._memo.pop(ref.name, None)


def _will_do(known: ResolvedConnection, ref: ConnectionRef) -> bool:
    """Say whether what is remembered is the connection that is meant, not an earlier state."""
    connection = known.connection
    return ref.key in (None, connection.key) and connection.credentials_version >= ref.version


class ConnectionActivities:
    """Steps that read and change connections for scripts."""

    def __init__(self, store: ConnectionStore, record_sets: RecordSetStore) -> None:
        self._store = store
        self._record_sets = record_sets

    @activity.defn
    async def get_connection(self, ref: ConnectionRef) -> ConnectionView:
        """Return a connection with its credentials."""
        connection = await self._get(ref)
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
            credentials=await self._store.credentials(connection),
        )

    @activity.defn
    async def get_token(self, ref: ConnectionRef) -> TokenView:
        """Return what a connection authenticates with."""
        return TokenView(token=token_of(await self._store.credentials(await self._get(ref))))

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
        async with heartbeating():
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
