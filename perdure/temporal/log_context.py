"""Has every line that a step logs say which run it belongs to."""

from __future__ import annotations

from typing import Any, Final

import structlog
from temporalio import activity, workflow
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from perdure.temporal.payloads import Payload

__all__ = ["LogInterceptor", "log_fields"]

_NAMES: Final = {
    "environment": "environment",
    "integration": "integration",
    "connection_id": "connection_id",
    "sync": "script",
    "script": "script",
    "run_id": "run_id",
}
_INSIDE: Final = ("connection", "sync", "context")


def log_fields(argument: object) -> dict[str, str]:
    """Return what may be logged of a step's argument: names of what it works for, and no more.

    Args:
        argument: The argument; what is not a payload of ours says nothing.
    """
    fields: dict[str, str] = {}
    if isinstance(argument, Payload):
        for holder in (*(getattr(argument, name, None) for name in _INSIDE), argument):
            if isinstance(holder, Payload):
                fields |= _named(holder)
    return fields


def _named(holder: Payload) -> dict[str, str]:
    values = ((field, getattr(holder, name, None)) for name, field in _NAMES.items())
    return {field: value for field, value in values if isinstance(value, str) and value}


class LogInterceptor(Interceptor):
    """Binds run, connection, integration, script and environment while a step works."""

    def __init__(self) -> None:
        # What the SDK would write behind each message stands in fields of its own.
        activity.logger.activity_info_on_message = False
        workflow.logger.workflow_info_on_message = False

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Activities(next)


class _Activities(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        info = activity.info()
        fields = {
            "run_id": info.workflow_run_id,
            "workflow_id": info.workflow_id,
            "step": info.activity_type,
            "attempt": info.attempt,
            **(log_fields(input.args[0]) if input.args else {}),
        }
        # Each step has a task of its own, and so a context that ends with it.
        structlog.contextvars.bind_contextvars(**fields)
        return await self.next.execute_activity(input)
