"""Lets a run that is retried execute a newer bundle than the one its history holds.

A run's script stands in its history, as the result of a step or as an argument. Where a retry asks
for another bundle, the script is exchanged on its way from the history into the workflow, so that
the same history is replayed by the newer code; whether the two fit is checked before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    ActivitySerializationContext,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

__all__ = ["SCRIPT_MARK", "OverridingCodec", "ScriptOverrides"]

SCRIPT_MARK = "perdure-script"
"""Marks a payload that holds the files of a script."""


class ScriptOverrides(Protocol):
    """Scripts that take the place of those in histories."""

    async def script_override(self, workflow_id: str) -> bytes | None:
        """Return the serialized payload that a workflow is to be given, None for its own."""


class OverridingCodec(PayloadCodec, WithSerializationContext):
    """Exchanges scripts where an override says so; all else is left to another codec.

    Args:
        inner: Encodes and decodes.
        overrides: Which workflows are given another script.
        workflow_id: The workflow whose payloads these are; without one nothing is exchanged.
    """

    def __init__(
        self, inner: PayloadCodec, overrides: ScriptOverrides, workflow_id: str | None = None
    ) -> None:
        self._inner = inner
        self._overrides = overrides
        self._workflow_id = workflow_id

    def with_context(self, context: SerializationContext) -> OverridingCodec:
        """See base class."""
        workflow_id = None
        if isinstance(context, WorkflowSerializationContext | ActivitySerializationContext):
            workflow_id = context.workflow_id
        return OverridingCodec(self._inner, self._overrides, workflow_id)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        return await self._inner.encode(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """See base class."""
        return [await self._own(payload) for payload in await self._inner.decode(payloads)]

    async def _own(self, payload: Payload) -> Payload:
        if self._workflow_id is None or SCRIPT_MARK not in payload.metadata:
            return payload
        # Not remembered: a later retry may exchange it once more, on any worker.
        other = await self._overrides.script_override(self._workflow_id)
        return payload if other is None else Payload.FromString(other)
