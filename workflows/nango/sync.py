"""The helper of syncs."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.nango.action import DurableAction
    from workflows.nango.delete_tracks import DeleteTrackSteps
    from workflows.nango.pipelines import PipelineSteps
    from workflows.nango.record_reads import RecordReadSteps

__all__ = ["DurableSync"]


class DurableSync(PipelineSteps, DurableAction, DeleteTrackSteps, RecordReadSteps):
    """What an action's helper can do, and the records cache."""
