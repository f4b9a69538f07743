"""Puts the parts of a process together, and takes them apart again in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.runtime import Runtime

from activities.bundles import BundleCache
from activities.connections import ConnectionResolver
from activities.credential_keeper import CredentialKeeper
from activities.sync_schedules import SyncSchedules
from activities.webhook_intake import WebhookIntake
from config.settings import Settings
from perdure.app.pool_watch import watching_pool
from perdure.auth.tokens import TokenClient
from perdure.crypto.keyring import KeyRing
from perdure.db.database import Database
from perdure.errors import StartupError
from perdure.observability.outbound import watched
from perdure.observability.sdk_runtime import sdk_runtime
from perdure.observability.tracing import open_tracing
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport
from perdure.temporal.client import connect
from perdure.temporal.converter import data_converter, worker_converter
from perdure.temporal.external_storage import PostgresStorageDriver
from perdure.temporal.plugin import PerdurePlugin
from perdure.temporal.watchdog import Watchdog

__all__ = ["Container", "open_container", "temporal_client"]


@dataclass(frozen=True, slots=True)
class Container:
    """What the api and worker processes share.

    Attributes:
        settings: As read from the environment.
        keyring: Encrypts what is secret.
        database: Our own data.
        temporal: A client; lazy in the api, so that it starts without Temporal.
        bundles: Bundles by hash.
        schedules: Schedules of syncs.
        catalog: Providers.
        connections: Connections with their credentials, for requests to providers.
        transport: The one way out, whoever asks.
        webhooks: Takes what providers send.
        keeper: Keeps credentials good for use.
    """

    settings: Settings
    keyring: KeyRing
    database: Database
    temporal: Client
    bundles: BundleCache
    schedules: SyncSchedules
    catalog: ProviderCatalog
    connections: ConnectionResolver
    transport: HttpTransport
    webhooks: WebhookIntake
    keeper: CredentialKeeper


def outbound(settings: Settings) -> HttpTransport:
    """Return the transport of a process, with the one guard for everything that goes out."""
    return HttpTransport(
        AddressGuard(
            allow_private_networks=settings.allow_private_networks,
            allowed_networks=settings.outbound_allowed_networks,
            denied_networks=settings.outbound_denied_networks,
        ),
        max_body_bytes=settings.outbound_max_body_mb * 1024 * 1024,
        watch=watched,
    )


def key_ring(settings: Settings) -> KeyRing:
    """Return the key ring of the settings.

    Raises:
        StartupError: There is none, or it is malformed.
    """
    if settings.encryption_keys is None:
        msg = (
            "PERDURE_ENCRYPTION_KEYS is not set. Make a key with `perdure keys new` and keep it: "
            "what is encrypted with it cannot be read without it."
        )
        raise StartupError(msg, code="encryption_keys_missing")
    return KeyRing.parse(settings.encryption_keys.get_secret_value())


async def temporal_client(
    settings: Settings,
    plugin: PerdurePlugin,
    *,
    lazy: bool = False,
    runtime: Runtime | None = None,
) -> Client:
    """Connect to the Temporal of the settings; see `connect`.

    Raises:
        StartupError: Temporal does not answer.
    """
    api_key = settings.temporal_api_key
    return await connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        plugin=plugin,
        api_key=api_key.get_secret_value() if api_key else None,
        tls=settings.temporal_tls,
        lazy=lazy,
        runtime=runtime,
    )


@asynccontextmanager
async def open_container(
    settings: Settings, *, name: str, watchdog: Watchdog | None = None, lazy: bool = False
) -> AsyncIterator[Container]:
    """Open everything a process needs, and close it again.

    Args:
        settings: As read from the environment.
        name: Name of the process, as Postgres shows it.
        watchdog: Of a worker.
        lazy: Connect to Temporal at the first call.

    Raises:
        StartupError: A setting is missing or wrong, or Temporal does not answer.
        UnavailableError: Postgres does not answer.
    """
    keyring = key_ring(settings)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database.open(
                settings.database_url.get_secret_value(),
                keyring=keyring,
                pool_size=settings.database_pool_size,
                application_name=name,
                compress_blobs=settings.compress_payloads,
            )
        )
        driver = PostgresStorageDriver(database.blobs)
        converter = data_converter(
            keyring,
            driver,
            encrypt=settings.encrypt_payloads,
            overrides=database.script_overrides,
        )
        for_workers = worker_converter(
            keyring,
            driver,
            encrypt=settings.encrypt_payloads,
            overrides=database.script_overrides,
        )
        traces = await stack.enter_async_context(
            open_tracing(name, endpoint=settings.traces_endpoint)
        )
        runtime = sdk_runtime(name, metrics_address=settings.metrics_address)
        if settings.metrics_address is not None:
            await stack.enter_async_context(watching_pool(database))
        plugin = PerdurePlugin(
            converter, watchdog, traces.interceptor if traces else None, for_workers
        )
        temporal = await temporal_client(settings, plugin, lazy=lazy, runtime=runtime)
        transport = await stack.enter_async_context(outbound(settings))
        bundles = BundleCache(database.bundles)
        catalog = ProviderCatalog.load(settings.providers)
        keeper = await stack.enter_async_context(
            CredentialKeeper(
                database,
                catalog,
                TokenClient(transport),
                backoff=timedelta(seconds=settings.refresh_backoff_seconds),
            )
        )
        yield Container(
            settings=settings,
            keyring=keyring,
            database=database,
            temporal=temporal,
            bundles=bundles,
            schedules=SyncSchedules(temporal),
            catalog=catalog,
            connections=ConnectionResolver(database.connections, catalog, keeper),
            transport=transport,
            webhooks=WebhookIntake(database, bundles, catalog),
            keeper=keeper,
        )
