"""Which errors of the SDK mean that Temporal is away, and which that it has refused."""

from __future__ import annotations

import pytest
from temporalio.service import RPCError, RPCStatusCode

from perdure.temporal.client import unavailable


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("tcp connect error", RPCStatusCode.UNAVAILABLE),
        # Of calls that wait for a result while the server is restarted.
        ("transport error", RPCStatusCode.UNKNOWN),
        ("Timeout expired", RPCStatusCode.CANCELLED),
        ("context deadline exceeded", RPCStatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_connection_that_broke_is_a_temporal_that_is_away(
    message: str, status: RPCStatusCode
) -> None:
    error = unavailable(RPCError(message, status, b""))

    assert error is not None
    assert error.code == "temporal_unavailable"


@pytest.mark.parametrize(
    "status",
    [RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED],
)
def test_refusal_is_not(status: RPCStatusCode) -> None:
    assert unavailable(RPCError("no", status, b"")) is None
