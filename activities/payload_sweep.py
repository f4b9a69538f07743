"""Removes large payloads that no history can name any more.

A history names payloads that were stored, or read, since its run began, or shortly before: the
input of a run that is started, or that continues another one. So what was not used for as long as
Temporal keeps a run, and as long as a run takes, is named by none. Few runs take longer than a day;
those that Temporal still knows are looked through, and what they name counts as used.

Two things begin late and name what is old. A run that is reset has a new beginning and the history
it had: its first task reads what that history brings, and `runs retry` renews all that it names.
And a schedule hands its input and its last result on to the runs it starts, which are too small to
be kept outside of a history.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.heartbeat import heartbeating
from activities.maintenance import Sweep, Swept
from perdure.clock import utcnow
from perdure.db.blobs import BlobStore
from perdure.temporal.client import history_retention
from perdure.temporal.external_storage import claimed_keys

__all__ = ["PayloadSweep"]

# Runs that take longer are looked through.
_LONG_RUN = timedelta(days=1)
# Uses are known to the day, a worker knows what it used for an hour without asking, and clocks
# differ.
_SLACK = timedelta(days=2)
# Looking through runs is done once for all that becomes old on a day.
_ROUND = timedelta(days=1)
# More are there only where Temporal was told to keep histories for a shorter time than before: soon
# they are gone.
_MOST_LONG_RUNS = 5_000
# Each may be megabytes.
_AT_ONCE = 200
_RPC_TIMEOUT = timedelta(seconds=10)

log = structlog.get_logger(__name__)


class PayloadSweep:
    """The step of the maintenance that removes payloads.

    Args:
        blobs: Where they are.
        client: Knows the histories.
        kept: How long a payload is kept at least once nobody uses it.
        clock: What time it is.
    """

    def __init__(
        self,
        blobs: BlobStore,
        client: Client,
        kept: timedelta,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        self._blobs = blobs
        self._client = client
        self._kept = kept
        self._clock = clock

    @activity.defn
    async def drop_unused_payloads(self, sweep: Sweep) -> Swept:
        """Remove large payloads of histories that Temporal does not keep any more."""
        now, count = self._clock(), 0
        kept = max(self._kept, await history_retention(self._client))
        began = now - kept - _LONG_RUN
        unused_since = began - _SLACK
        oldest = await self._blobs.oldest()
        if oldest is None or oldest > unused_since - _ROUND:
            return Swept()
        older = f"StartTime < '{began.isoformat()}'"
        long_runs = await self._client.count_workflows(older, rpc_timeout=_RPC_TIMEOUT)
        if long_runs.count > _MOST_LONG_RUNS:
            log.warning("payload_sweep_postponed", old_runs=long_runs.count)
            return Swept()
        async with heartbeating():
            await self._renew(older, now)
            limit = min(sweep.batch, _AT_ONCE)
            while dropped := await self._blobs.drop_unused(unused_since, limit=limit):
                count += dropped
        return Swept(count=count)

    async def _renew(self, query: str, now: datetime) -> None:
        """Have what is named by the runs that a query finds count as used."""
        async for found in self._client.list_workflows(query, rpc_timeout=_RPC_TIMEOUT):
            execution = WorkflowExecution(workflow_id=found.id, run_id=found.run_id)
            try:
                await self._renew_named_by(execution, now)
            except RPCError as error:
                # Temporal has forgotten it since.
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise

    async def _renew_named_by(self, execution: WorkflowExecution, now: datetime) -> None:
        service, namespace = self._client.workflow_service, self._client.namespace
        # What stands in no event yet: steps under way, with what they failed with last.
        described = await service.describe_workflow_execution(
            DescribeWorkflowExecutionRequest(namespace=namespace, execution=execution),
            timeout=_RPC_TIMEOUT,
        )
        await self._blobs.renew(claimed_keys(described.SerializeToString()), now)
        request = GetWorkflowExecutionHistoryRequest(namespace=namespace, execution=execution)
        while True:
            page = await service.get_workflow_execution_history(request, timeout=_RPC_TIMEOUT)
            await self._blobs.renew(claimed_keys(page.SerializeToString()), now)
            if not page.next_page_token:
                return
            request.next_page_token = page.next_page_token
