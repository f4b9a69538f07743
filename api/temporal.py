"""How the API speaks to Temporal: within time limits, and with one error when it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from pydantic_core import PydanticSerializationError
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import (
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.errors import ApiError
from perdure.errors import InvalidInputError, UnavailableError
from perdure.temporal.client import unavailable
from perdure.temporal.failures import describe_failure
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import Payload

__all__ = ["RPC_TIMEOUT", "SilentError", "settled", "start_workflow", "temporal_answers"]

RPC_TIMEOUT = timedelta(seconds=10)
"""Limit of a single call."""

_SUMMARY_LENGTH = 180


class SilentError(UnavailableError):
    """Temporal was asked and did not answer: what it was asked for may have been done."""

    def __init__(self) -> None:
        msg = "Temporal did not answer; whether it did what was asked for is not known. Try again."
        super().__init__(msg, code="temporal_unavailable")


@asynccontextmanager
async def temporal_answers(limit: timedelta = RPC_TIMEOUT) -> AsyncIterator[None]:
    """Map what calls inside raise when Temporal is away.

    Only calls of Temporal belong inside: the SDK has no class of its own for a failed connection.

    Args:
        limit: For everything inside.

    Raises:
        UnavailableError: `temporal_unavailable`, nothing was asked, or it was refused.
        SilentError: `temporal_unavailable`, there was no answer.
    """
    try:
        async with asyncio.timeout(limit.total_seconds()):
            yield
    except (RPCError, RuntimeError) as error:
        away = unavailable(error)
        if away is None:
            raise
        if isinstance(error, RPCError) and error.status is not RPCStatusCode.RESOURCE_EXHAUSTED:
            raise SilentError from error
        raise away from error
    except TimeoutError as error:
        raise SilentError from error


async def start_workflow(
    client: Client,
    workflow: WorkflowType,
    *args: Payload,
    workflow_id: str,
    summary: str,
    attributes: TypedSearchAttributes,
    result_type: type | None = None,
    queue: TaskQueue = TaskQueue.ACTIONS,
    once: bool = False,
) -> WorkflowHandle[Any, Any]:
    """Start a workflow, or join the one that runs under this id.

    Args:
        client: A client.
        workflow: Its type.
        *args: Its arguments.
        workflow_id: Its id.
        summary: A sentence for people who look at the run; cut where it is too long.
        attributes: See `perdure.temporal.names.search_attributes`.
        result_type: What it returns.
        queue: Where it runs.
        once: Whether to join also one that has ended.

    Raises:
        UnavailableError: `temporal_unavailable`, as `temporal_answers`.
        InvalidInputError: `unstorable_text`: an argument holds what is no valid Unicode.
    """
    reject, allow = WorkflowIDReusePolicy.REJECT_DUPLICATE, WorkflowIDReusePolicy.ALLOW_DUPLICATE
    async with temporal_answers():
        try:
            return await client.start_workflow(
                workflow,
                args=args,
                id=workflow_id,
                task_queue=queue,
                result_type=result_type,
                id_reuse_policy=reject if once else allow,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=summary[:_SUMMARY_LENGTH],
                search_attributes=attributes,
                rpc_timeout=RPC_TIMEOUT,
            )
        except PydanticSerializationError as error:
            msg = "A value holds an unpaired surrogate: it cannot be handed on."
            raise InvalidInputError(msg, code="unstorable_text") from error
        except WorkflowAlreadyStartedError:
            return client.get_workflow_handle(workflow_id, result_type=result_type)


async def settled(handle: WorkflowHandle[Any, Any], patience: timedelta) -> Any:
    """Return what a workflow returned, or None when it is not known in time; it goes on then.

    Raises:
        ApiError: 500, the workflow failed.
    """
    try:
        async with temporal_answers(patience):
            return await handle.result()
    except UnavailableError:
        return None
    except WorkflowFailureError as error:
        failure = describe_failure(error)
        raise ApiError(
            500, failure["type"], failure["message"], payload=failure.get("payload")
        ) from error
