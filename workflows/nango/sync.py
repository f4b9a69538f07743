"""The helper of syncs."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.nango.action import DurableAction
    from workflows.nango.records import RecordSteps

__all__ = ["DurableSync"]


class DurableSync(DurableAction, RecordSteps):
    """What an action's helper can do, and the records cache."""
