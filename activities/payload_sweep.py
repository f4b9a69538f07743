"""Removes large payloads that no history can name any more, and those that nobody asks for.

A history names payloads that were stored, or read, since its run began, or shortly before: the
input of a run that is started, or that continues another one. So what was not used for as long as
Temporal keeps a run, and as long as a run takes, is named by none. Few runs take longer than a day;
those that Temporal still knows are looked through, and what they name counts as used.

Two things begin late and name what is old. A run that is reset has a new beginning and the history
it had: its first task reads what that history brings, and `runs retry` renews all that it names.
And a schedule hands its input and its last result on to the runs it starts, which are too small to
be kept outside of a history.

Pages and batches of a sync are many, and of use to nobody once its run has ended well. They are not
lasting, and removed after a shorter time, though histories name them still. Runs that go on, and
those that may be retried, keep theirs: they are looked through however short they are.

There may be thousands of them, each with a history of megabytes. A step looks through runs for a
while, from those that began last to those before them, and the next step goes on with those. Which
runs a round looks through is settled as it begins, and so is which payloads are old then: it may
take days.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog
from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution as ExecutionProto
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from activities.maintenance import Sweep, Swept
from perdure.clock import utcnow
from perdure.db.blobs import BlobStore
from perdure.db.payload_rounds import PayloadRound, PayloadRoundStore
from perdure.db.runs import RunStore
from perdure.ids import run_of_item
from perdure.temporal.client import history_retention
from perdure.temporal.external_storage import claimed_keys
from perdure.temporal.names import WorkflowType

__all__ = ["PayloadSweep"]

# Runs that take longer are looked through.
_LONG_RUN = timedelta(days=1)
# Uses are known to the day, a worker knows what it used for an hour without asking, and clocks
# differ.
_SLACK = timedelta(hours=30)
# Looking through runs is done once for all that becomes old meanwhile.
_ROUND = timedelta(days=1)
_SHORT_ROUND = timedelta(hours=6)
# More long ones are there only where Temporal was told to keep histories for a shorter time than
# before: soon they are gone. Where more have failed, only those are looked through that go on or
# may be retried.
_MOST_RUNS = 5_000
# Those that ended well, or went on as another execution, are not among them.
_UNFINISHED = (
    f"WorkflowType IN ('{WorkflowType.SYNC}', '{WorkflowType.EACH}', '{WorkflowType.EACH_BATCH}')"
    " AND ExecutionStatus NOT IN ('Completed', 'ContinuedAsNew') AND "
)
# Each may be megabytes.
_AT_ONCE = 200
# How long a step looks through runs: the maintenance, which comes every five minutes, has more
# to do.
_PORTION = timedelta(minutes=2)
# About so many it looks through before it notes where it is.
_RUNS_AT_ONCE = 20
# It finds them by when they began, an hour at first; what began in the same second goes together.
_SPAN = timedelta(hours=1)
_SHORTEST_SPAN = timedelta(seconds=1)
_RPC_TIMEOUT = timedelta(seconds=10)

log = structlog.get_logger(__name__)


class PayloadSweep:
    """The step of the maintenance that removes payloads.

    Args:
        blobs: Where they are.
        rounds: How far it is with looking through runs.
        runs: Knows which run is the last of its sync.
        client: Knows the histories.
        kept: How long a payload of a sync is kept once nobody uses it.
        clock: What time it is.
    """

    def __init__(
        self,
        blobs: BlobStore,
        rounds: PayloadRoundStore,
        runs: RunStore,
        client: Client,
        kept: timedelta,
        *,
        clock: Callable[[], datetime] = utcnow,
    ) -> None:
        self._blobs = blobs
        self._rounds = rounds
        self._runs = runs
        self._client = client
        self._kept = kept
        self._clock = clock

    @activity.defn
    async def drop_unused_payloads(self, sweep: Sweep) -> Swept:
        """Remove large payloads of histories that are not kept any more, or not asked for."""
        now, limit = self._clock(), min(sweep.batch, _AT_ONCE)
        retention = await history_retention(self._client)
        count = await self._drop_lasting(now, retention, limit)
        count += await self._drop_others(now, min(self._kept, retention), limit)
        return Swept(count=count)

    async def _drop_lasting(self, now: datetime, kept: timedelta, limit: int) -> int:
        round_ = await self._rounds.get(lasting=True)
        began = round_.began if round_ else now - kept - _LONG_RUN
        unused_since = began - _SLACK
        if not round_ and not await self._is_due(unused_since - _ROUND, lasting=True):
            return 0
        count = await self._count(_started(until=began))
        if count > _MOST_RUNS:
            log.warning("payload_sweep_postponed", old_runs=count)
            return 0

        async def renew(run: WorkflowExecution) -> None:
            await self._renew(run, now)

        round_ = round_ or PayloadRound(began, began)
        if not await self._looked_through("", round_, renew, lasting=True):
            return 0
        return await self._drop(unused_since, limit, lasting=True)

    async def _drop_others(self, now: datetime, kept: timedelta, limit: int) -> int:
        round_ = await self._rounds.get(lasting=False)
        began = round_.began if round_ else now - kept
        unused_since = began - _SLACK
        if not round_ and not await self._is_due(unused_since - _SHORT_ROUND, lasting=False):
            return 0
        count = await self._count(_UNFINISHED + _started(until=began))
        if are_many := count > _MOST_RUNS:
            log.warning("payloads_of_failed_runs_dropped_early", unfinished_runs=count)

        async def renew(run: WorkflowExecution) -> None:
            if not (are_many and await self._is_superseded(run)):
                await self._renew(run, now)

        round_ = round_ or PayloadRound(began, began)
        if not await self._looked_through(_UNFINISHED, round_, renew, lasting=False):
            return 0
        return await self._drop(unused_since, limit, lasting=False)

    async def _looked_through(
        self,
        which: str,
        round_: PayloadRound,
        renew: Callable[[WorkflowExecution], Awaitable[None]],
        *,
        lasting: bool,
    ) -> bool:
        """Go on with a round for a while; returns whether it has come to its end."""
        end = time.monotonic() + _PORTION.total_seconds()
        until, span = round_.until, _SPAN
        while await self._count(which + _started(until=until)):
            while True:
                some = which + _started(since=until - span, until=until)
                count = await self._count(some)
                if count <= _RUNS_AT_ONCE or span <= _SHORTEST_SPAN:
                    break
                span /= 2
            async for run in self._client.list_workflows(some, rpc_timeout=_RPC_TIMEOUT):
                await renew(run)
            until -= span
            await self._rounds.note(PayloadRound(round_.began, until), lasting=lasting)
            if count and time.monotonic() >= end:
                log.info("payload_round_goes_on", lasting=lasting, until=until)
                return False
            if count < _RUNS_AT_ONCE / 4:
                span *= 4
        await self._rounds.end(lasting=lasting)
        return True

    async def _is_due(self, unused_since: datetime, *, lasting: bool) -> bool:
        oldest = await self._blobs.oldest(lasting=lasting)
        return oldest is not None and oldest <= unused_since

    async def _count(self, query: str) -> int:
        return (await self._client.count_workflows(query, rpc_timeout=_RPC_TIMEOUT)).count

    async def _drop(self, unused_since: datetime, limit: int, *, lasting: bool) -> int:
        count = 0
        while dropped := await self._blobs.drop_unused(unused_since, lasting=lasting, limit=limit):
            count += dropped
        return count

    async def _is_superseded(self, found: WorkflowExecution) -> bool:
        """Say whether it has ended, as has the run that it belongs to, which cannot be retried."""
        if found.status is WorkflowExecutionStatus.RUNNING:
            return False
        run_id = run_of_item(found.id) or found.run_id
        return await self._runs.is_superseded(run_id)

    async def _renew(self, found: WorkflowExecution, now: datetime) -> None:
        """Have what an execution names count as used."""
        try:
            await self._renew_named_by(found, now)
        except RPCError as error:
            # Temporal has forgotten it since.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def _renew_named_by(self, found: WorkflowExecution, now: datetime) -> None:
        execution = ExecutionProto(workflow_id=found.id, run_id=found.run_id)
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


def _started(*, since: datetime | None = None, until: datetime) -> str:
    earliest = f"StartTime >= '{since.isoformat()}' AND " if since else ""
    return f"{earliest}StartTime < '{until.isoformat()}'"
