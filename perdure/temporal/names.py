"""Names that stand in histories and schedules. Released names are never changed or reused."""

from __future__ import annotations

from enum import StrEnum

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

__all__ = [
    "LOOK_AGAIN",
    "PROGRESS_QUERY",
    "SEARCH_ATTRIBUTES",
    "TURN_SIGNAL",
    "SearchAttribute",
    "TaskQueue",
    "WorkflowType",
    "search_attributes",
]

LOOK_AGAIN = "look-again"
"""Signal that there is more for a `webhook-dispatch` to do."""

PROGRESS_QUERY = "progress"
"""Query that tells how far a run is."""

TURN_SIGNAL = "turn"
"""Signal that tells an asynchronous action that it may run."""


class WorkflowType(StrEnum):
    """Workflow types."""

    SYNC = "sync"
    ACTION = "action"
    ON_EVENT = "on-event"
    CONNECTION_CREATE = "connection-create"
    CONNECTION_DELETE = "connection-delete"
    DEPLOY = "deploy"
    VARIANT_DELETE = "variant-delete"
    RETRY = "retry"
    MAINTENANCE = "maintenance"
    WEBHOOK = "webhook"
    WEBHOOK_DISPATCH = "webhook-dispatch"
    WEBHOOK_DELIVERY = "webhook-delivery"
    CONFIRM_DELETES = "confirm-deletes"
    KEY_ROTATION = "key-rotation"
    EACH = "each"
    EACH_BATCH = "each-batch"


class TaskQueue(StrEnum):
    """Task queues: long syncs never starve actions."""

    SYNCS = "perdure-syncs"
    ACTIONS = "perdure-actions"


class SearchAttribute:
    """Typed keys by which runs are found in the Temporal UI; they hold no secret and no data.

    Attributes:
        DUE_AT: Temporal's own; runs that a schedule has started have it.
    """

    ENVIRONMENT = SearchAttributeKey.for_keyword("PerdureEnvironment")
    INTEGRATION = SearchAttributeKey.for_keyword("PerdureIntegration")
    CONNECTION = SearchAttributeKey.for_keyword("PerdureConnection")
    SCRIPT = SearchAttributeKey.for_keyword("PerdureScript")
    KIND = SearchAttributeKey.for_keyword("PerdureKind")
    BUNDLE = SearchAttributeKey.for_keyword("PerdureBundle")
    DUE_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")


SEARCH_ATTRIBUTES: tuple[SearchAttributeKey[str], ...] = (
    SearchAttribute.ENVIRONMENT,
    SearchAttribute.INTEGRATION,
    SearchAttribute.CONNECTION,
    SearchAttribute.SCRIPT,
    SearchAttribute.KIND,
    SearchAttribute.BUNDLE,
)


def search_attributes(
    kind: WorkflowType,
    environment: str,
    *,
    integration: str | None = None,
    connection_id: str | None = None,
    script: str | None = None,
    bundle: str | None = None,
) -> TypedSearchAttributes:
    """Return the attributes by which a run is found in the Temporal UI."""
    values = (
        (SearchAttribute.KIND, kind),
        (SearchAttribute.ENVIRONMENT, environment),
        (SearchAttribute.INTEGRATION, integration),
        (SearchAttribute.CONNECTION, connection_id),
        (SearchAttribute.SCRIPT, script),
        (SearchAttribute.BUNDLE, bundle),
    )
    return TypedSearchAttributes(
        [SearchAttributePair(key, value) for key, value in values if value is not None]
    )
