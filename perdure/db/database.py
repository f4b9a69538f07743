"""The whole data layer as one object, for the composition root."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from perdure.crypto.keyring import KeyRing
from perdure.db.action_calls import ActionCallStore
from perdure.db.action_queue import ActionQueue
from perdure.db.actions import ActionStore
from perdure.db.api_keys import ApiKeyStore
from perdure.db.audit import AuditStore
from perdure.db.blobs import BlobStore
from perdure.db.bundles import BundleStore
from perdure.db.checkpoints import CheckpointStore
from perdure.db.connect_sessions import ConnectSessionStore
from perdure.db.connection_lifecycle import ConnectionLifecycle
from perdure.db.connections import ConnectionStore
from perdure.db.credential_refreshes import CredentialRefreshStore
from perdure.db.delete_tracks import DeleteTrackStore
from perdure.db.dry_runs import DryRunStore
from perdure.db.environments import EnvironmentStore
from perdure.db.integrations import IntegrationStore
from perdure.db.key_rotations import KeyRotationStore
from perdure.db.locks import LockStore
from perdure.db.log_search import LogSearch
from perdure.db.oauth_states import OAuthStateStore
from perdure.db.overview import OverviewStore
from perdure.db.payload_rounds import PayloadRoundStore
from perdure.db.pool import DbConnection, Pool, borrowed, create_pool
from perdure.db.record_changes import RecordChanges
from perdure.db.record_pruning import RecordPruning
from perdure.db.record_sets import RecordSetStore
from perdure.db.records import RecordStore
from perdure.db.resyncs import ResyncStore
from perdure.db.run_batches import RunBatchStore
from perdure.db.run_cursors import RunCursorStore
from perdure.db.run_retention import RunRetention
from perdure.db.runs import RunStore
from perdure.db.schema_state import missing_revisions
from perdure.db.script_overrides import ScriptOverrideStore
from perdure.db.sync_list import SyncListStore
from perdure.db.sync_standings import SyncStandingStore
from perdure.db.syncs import SyncStore
from perdure.db.variables import VariableStore
from perdure.db.webhook_arrivals import WebhookArrivalStore
from perdure.db.webhook_deliveries import DeliveryStore
from perdure.db.webhook_events import WebhookEventStore
from perdure.db.webhook_settings import WebhookSettingsStore

__all__ = ["Database", "PoolUse"]


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Connections of a pool.

    Attributes:
        busy: How many somebody uses.
        idle: How many are open and free.
        most: How many there may be.
    """

    busy: int
    idle: int
    most: int


@dataclass(frozen=True, slots=True)
class Database:
    """One pool and the repositories on it."""

    pool: Pool
    environments: EnvironmentStore
    integrations: IntegrationStore
    connections: ConnectionStore
    lifecycle: ConnectionLifecycle
    credential_refreshes: CredentialRefreshStore
    bundles: BundleStore
    syncs: SyncStore
    resyncs: ResyncStore
    runs: RunStore
    run_retention: RunRetention
    run_batches: RunBatchStore
    run_cursors: RunCursorStore
    records: RecordStore
    record_sets: RecordSetStore
    delete_tracks: DeleteTrackStore
    record_changes: RecordChanges
    record_pruning: RecordPruning
    checkpoints: CheckpointStore
    blobs: BlobStore
    payload_rounds: PayloadRoundStore
    variables: VariableStore
    script_overrides: ScriptOverrideStore
    locks: LockStore
    webhook_settings: WebhookSettingsStore
    deliveries: DeliveryStore
    dry_runs: DryRunStore
    actions: ActionStore
    action_calls: ActionCallStore
    action_queue: ActionQueue
    webhook_arrivals: WebhookArrivalStore
    webhook_events: WebhookEventStore
    api_keys: ApiKeyStore
    audit: AuditStore
    key_rotations: KeyRotationStore
    connect_sessions: ConnectSessionStore
    oauth_states: OAuthStateStore
    overview: OverviewStore
    sync_list: SyncListStore
    sync_standings: SyncStandingStore
    log_search: LogSearch

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        database_url: str,
        *,
        keyring: KeyRing,
        pool_size: int = 10,
        application_name: str = "perdure",
        compress_blobs: bool = False,
    ) -> AsyncIterator[Database]:
        """Open the database for as long as the context lasts.

        The schema must be there: see `perdure.db.migrate`.

        Args:
            database_url: `postgresql://` URL; a Unix socket's folder goes into `?host=`.
            keyring: Encrypts and decrypts credentials.
            pool_size: Most connections at a time.
            application_name: What `pg_stat_activity` shows.
            compress_blobs: See `perdure.db.blobs.BlobStore`.

        Raises:
            UnavailableError: Postgres cannot be reached.
        """
        pool = await create_pool(database_url, pool_size, application_name=application_name)
        changes = RecordChanges(database_url, application_name=application_name)
        records = RecordStore(pool)
        async with pool, changes:
            yield cls(
                pool=pool,
                environments=EnvironmentStore(pool),
                integrations=IntegrationStore(pool, keyring),
                connections=ConnectionStore(pool, keyring),
                lifecycle=ConnectionLifecycle(pool),
                credential_refreshes=CredentialRefreshStore(pool, keyring),
                bundles=BundleStore(pool),
                syncs=SyncStore(pool),
                resyncs=ResyncStore(pool),
                runs=RunStore(pool),
                run_retention=RunRetention(pool),
                run_batches=RunBatchStore(),
                run_cursors=RunCursorStore(pool, keyring),
                records=records,
                record_sets=RecordSetStore(pool),
                delete_tracks=DeleteTrackStore(pool),
                record_changes=changes,
                record_pruning=RecordPruning(pool),
                checkpoints=CheckpointStore(pool),
                blobs=BlobStore(pool, compress=compress_blobs),
                payload_rounds=PayloadRoundStore(pool),
                variables=VariableStore(pool, keyring),
                script_overrides=ScriptOverrideStore(pool),
                locks=LockStore(pool),
                webhook_settings=WebhookSettingsStore(pool, keyring),
                deliveries=DeliveryStore(pool),
                dry_runs=DryRunStore(pool, records),
                actions=ActionStore(pool),
                action_calls=ActionCallStore(pool, keyring),
                action_queue=ActionQueue(pool),
                webhook_arrivals=WebhookArrivalStore(pool, keyring),
                webhook_events=WebhookEventStore(pool, keyring),
                api_keys=ApiKeyStore(pool),
                audit=AuditStore(pool),
                key_rotations=KeyRotationStore(pool, keyring),
                connect_sessions=ConnectSessionStore(pool),
                oauth_states=OAuthStateStore(pool, keyring),
                overview=OverviewStore(pool),
                sync_list=SyncListStore(pool),
                sync_standings=SyncStandingStore(pool),
                log_search=LogSearch(pool),
            )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[DbConnection]:
        """Give a connection inside a transaction, for the methods that take `conn`.

        It commits at the end and rolls back on any exception. Only database work belongs inside.

        Raises:
            UnavailableError: Nothing was committed; the whole of it may succeed later.
        """
        async with borrowed(self.pool) as conn, conn.transaction():
            yield conn

    @property
    def use(self) -> PoolUse:
        """How much of the pool is in use at the moment."""
        open_, idle = self.pool.get_size(), self.pool.get_idle_size()
        return PoolUse(busy=open_ - idle, idle=idle, most=self.pool.get_max_size())

    async def missing_revisions(self) -> list[str]:
        """Return the revisions that this release needs and the database lacks, in order.

        None where the database is newer: the release before goes on beside its successor.

        Raises:
            UnavailableError: Postgres does not answer.
        """
        return await missing_revisions(self.pool)
