"""Has the webhooks of connections worked off, from wherever it is noticed that there are any."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError

from activities.webhook_starts import DeliveryStarter
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.webhook_events import OpenConnection
from perdure.errors import PerdureError, UnavailableError
from perdure.ids import webhook_dispatch_workflow_id
from perdure.temporal.client import unavailable
from perdure.temporal.names import LOOK_AGAIN, TaskQueue, WorkflowType, search_attributes
from perdure.temporal.payloads import WebhookDispatchInput

__all__ = ["WebhookDispatcher", "WebhookSweep"]

_RPC_TIMEOUT = timedelta(seconds=10)
_SUMMARY_LENGTH = 180

_EVERY_SECONDS = 5.0
# What the api has just taken it also starts.
_IDLE = timedelta(seconds=3)
_CONNECTIONS_AT_ONCE = 1000
_DELIVERIES_AT_ONCE = 200
_CONCURRENCY = 16

log = structlog.get_logger(__name__)


class WebhookDispatcher:
    """Starts the workflow of a connection that handles its webhooks; there is one at a time.

    Args:
        client: A client; its errors pass through.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def wake(self, connection: OpenConnection) -> None:
        """Have a connection's webhooks handled, also where its workflow is about to end."""
        await self._start(connection, signal=LOOK_AGAIN)

    async def ensure(self, connection: OpenConnection) -> None:
        """Start a connection's workflow where it does not run."""
        await self._start(connection, signal=None)

    async def _start(self, connection: OpenConnection, signal: str | None) -> None:
        whom = f"{connection.integration} for {connection.connection_id}"
        await self._client.start_workflow(
            WorkflowType.WEBHOOK_DISPATCH,
            WebhookDispatchInput(
                environment=connection.environment,
                integration=connection.integration,
                connection_id=connection.connection_id,
                connection_key=connection.key,
            ),
            id=webhook_dispatch_workflow_id(connection.environment, connection.key),
            task_queue=TaskQueue.ACTIONS,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal=signal,
            static_summary=f"webhooks of {whom}"[:_SUMMARY_LENGTH],
            search_attributes=search_attributes(
                WorkflowType.WEBHOOK_DISPATCH,
                connection.environment,
                integration=connection.integration,
                connection_id=connection.connection_id,
            ),
            rpc_timeout=_RPC_TIMEOUT,
        )


class WebhookSweep:
    """Finds webhooks that were taken and that nobody has begun with, and begins with them.

    That happens where everything died right after a provider was answered.

    Args:
        database: Our own data.
        dispatcher: Starts the workflows of connections.
        starter: Starts deliveries to the application.
    """

    def __init__(
        self, database: Database, dispatcher: WebhookDispatcher, starter: DeliveryStarter
    ) -> None:
        self._database = database
        self._dispatcher = dispatcher
        self._starter = starter

    async def run(self) -> None:
        """Look every few seconds, until it is cancelled."""
        while True:
            try:
                await self.once(_IDLE)
            except PerdureError as error:
                log.warning("webhook_sweep_failed", code=error.code)
            except Exception as error:
                is_away = isinstance(error, (RPCError, RuntimeError)) and unavailable(error)
                if not is_away:
                    log.error("webhook_sweep_failed", exc_info=error)
            await asyncio.sleep(_EVERY_SECONDS)

    async def once(self, idle: timedelta = timedelta()) -> None:
        """Look once.

        Args:
            idle: What is younger is left to whoever took it.
        """
        found = await self._database.webhook_events.open_connections(idle, _CONNECTIONS_AT_ONCE)
        await _each(partial(self._dispatcher.ensure, connection) for connection in found)
        untried = await self._database.deliveries.unstarted(
            utcnow() - idle, after_seq=0, limit=_DELIVERIES_AT_ONCE
        )
        await _each(
            partial(self._deliver, delivery_id, environment)
            for _, delivery_id, environment in untried
        )

    async def _deliver(self, delivery_id: UUID, environment: str) -> None:
        deliveries = await self._database.deliveries.by_ids([delivery_id])
        await self._starter.start(environment, deliveries)


async def _each(starts: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Start what can be started: what is wrong with one says nothing of the others.

    Raises:
        UnavailableError: Postgres went away; the rest was left.
        RPCError: The same of Temporal.
        RuntimeError: Likewise.
    """
    limit, away = asyncio.Semaphore(_CONCURRENCY), list[Exception]()

    async def begin(start: Callable[[], Awaitable[None]]) -> None:
        async with limit:
            if away:
                return
            try:
                await start()
            except UnavailableError as error:
                away.append(error)
            except PerdureError as error:
                log.warning("webhook_not_started", code=error.code)
            except Exception as error:
                if isinstance(error, (RPCError, RuntimeError)) and unavailable(error) is not None:
                    away.append(error)
                else:
                    log.error("webhook_not_started", exc_info=error)

    await asyncio.gather(*map(begin, starts))
    if away:
        raise away[0]
