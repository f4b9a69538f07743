"""Connecting to Temporal, and preparing a namespace for Perdure."""

from __future__ import annotations

from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from perdure.errors import StartupError, UnavailableError
from perdure.temporal.names import SEARCH_ATTRIBUTES
from perdure.temporal.plugin import PerdurePlugin

__all__ = ["connect", "history_retention", "register_search_attributes", "unavailable"]

_RPC_TIMEOUT = timedelta(seconds=10)
_REFUSED = frozenset({RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED})


async def connect(
    address: str,
    *,
    namespace: str,
    plugin: PerdurePlugin,
    api_key: str | None = None,
    tls: bool = False,
    lazy: bool = False,
    runtime: Runtime | None = None,
) -> Client:
    """Connect to a Temporal frontend.

    Args:
        address: `host:port`.
        namespace: Namespace of the runs.
        plugin: Our wiring; workers made from the client take it over.
        api_key: Key for Temporal Cloud.
        tls: Whether to speak TLS.
        lazy: Connect at the first call; workers cannot use such a client.
        runtime: What the SDK runs on, None for the one that the process has anyway.

    Raises:
        StartupError: Nothing answers at the address.
    """
    try:
        return await Client.connect(
            address,
            namespace=namespace,
            api_key=api_key,
            tls=tls,
            lazy=lazy,
            plugins=[plugin],
            runtime=runtime,
        )
    except RuntimeError as error:
        msg = f"Temporal does not answer at {address} (TEMPORAL_ADDRESS)"
        raise StartupError(msg, code="temporal_unreachable") from error


async def register_search_attributes(client: Client) -> list[str]:
    """Register the search attributes that the namespace lacks; returns the new ones' names.

    Raises:
        RPCError: Temporal does not answer, has no such namespace, or lets nobody register what is
            missing there (`PERMISSION_DENIED`, `UNIMPLEMENTED`).
    """
    namespace = client.namespace
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=namespace), timeout=_RPC_TIMEOUT
        )
    except RPCError as error:
        # Where others keep the server they are added by its own tools, and can still be asked for.
        if error.status in _REFUSED and await _has_search_attributes(client):
            return []
        raise
    missing = [key.name for key in SEARCH_ATTRIBUTES if key.name not in known.custom_attributes]
    if missing:
        keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        try:
            await client.operator_service.add_search_attributes(
                AddSearchAttributesRequest(
                    namespace=namespace, search_attributes=dict.fromkeys(missing, keyword)
                ),
                timeout=_RPC_TIMEOUT,
            )
        except RPCError as error:
            # Another process that starts at the same moment was faster.
            if error.status is not RPCStatusCode.ALREADY_EXISTS:
                raise
    return missing


async def _has_search_attributes(client: Client) -> bool:
    asked = " AND ".join(f"{key.name} = 'x'" for key in SEARCH_ATTRIBUTES)
    try:
        await client.count_workflows(asked, rpc_timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True


async def history_retention(client: Client) -> timedelta:
    """Return how long Temporal keeps a history after its end.

    Raises:
        RPCError: Temporal does not answer.
    """
    described = await client.workflow_service.describe_namespace(
        DescribeNamespaceRequest(namespace=client.namespace), timeout=_RPC_TIMEOUT
    )
    kept: timedelta = described.config.workflow_execution_retention_ttl.ToTimedelta()
    return kept


# What a connection that breaks under a call comes to is unknown, as the SDK tells it.
_UNREACHABLE = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
    }
)


def unavailable(error: RPCError | RuntimeError) -> UnavailableError | None:
    """Return the error to raise where Temporal did not answer, None where it did."""
    if isinstance(error, RPCError) and error.status not in _UNREACHABLE:
        return None
    msg = "Temporal does not answer; what was asked for was not started. Try again."
    return UnavailableError(msg, code="temporal_unavailable")
