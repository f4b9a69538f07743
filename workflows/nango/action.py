"""The helper of actions and on-event scripts."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.nango.checkpoints import CheckpointSteps
    from workflows.nango.connection import ConnectionSteps
    from workflows.nango.each import EachSteps
    from workflows.nango.fetch import FetchSteps
    from workflows.nango.functions import FunctionSteps
    from workflows.nango.http import HttpSteps
    from workflows.nango.inputs import InputSteps
    from workflows.nango.locks import LockSteps
    from workflows.nango.triggers import TriggerSteps

__all__ = ["DurableAction"]


class DurableAction(
    HttpSteps,
    ConnectionSteps,
    FetchSteps,
    InputSteps,
    LockSteps,
    TriggerSteps,
    FunctionSteps,
    CheckpointSteps,
    EachSteps,
):
    """Everything but the records."""
