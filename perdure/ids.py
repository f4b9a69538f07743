"""Names that identify things, and the one place where workflow ids are put together."""

from __future__ import annotations

from typing import NewType
from uuid import UUID, uuid5

__all__ = [
    "BASE_VARIANT",
    "BundleHash",
    "ConnectionKey",
    "EnvironmentId",
    "action_id_of",
    "action_status_url",
    "action_workflow_id",
    "connection_workflow_id",
    "delivery_workflow_id",
    "dry_run_workflow_id",
    "event_of_workflow",
    "event_workflow_id",
    "is_sync_workflow_id",
    "item_workflow_prefix",
    "keyed_action_id",
    "run_of_item",
    "shadow_variant",
    "sync_workflow_id",
    "webhook_dispatch_workflow_id",
    "webhook_workflow_id",
    "webhooks_workflow_id",
]

EnvironmentId = NewType("EnvironmentId", int)
"""Row id of an environment."""

ConnectionKey = NewType("ConnectionKey", int)
"""Row id of a connection; `connection_id` is the name that users give it."""

BundleHash = NewType("BundleHash", str)
"""Content hash of a bundle, 64 hexadecimal digits."""

_ACTION_KEYS = UUID("6f1d1a3e-8c57-4f0e-9d5b-2f6c1c1f8a44")

BASE_VARIANT = "base"
"""The variant of a sync that has no variants."""


def shadow_variant(variant: str) -> str:
    """Return where a run that empties the cache builds the records of a variant anew.

    `~` stands in no variant that a user can name.
    """
    return f"~{variant}"


def sync_workflow_id(
    environment: str, integration: str, connection: str, sync: str, variant: str = BASE_VARIANT
) -> str:
    """Return the id shared by the Temporal Schedule of a sync and by its runs."""
    return f"sync/{environment}/{integration}/{connection}/{sync}/{variant}"


def is_sync_workflow_id(workflow_id: str) -> bool:
    """Say whether a workflow id is that of a sync's run; a dry run of a sync has another one."""
    return workflow_id.startswith("sync/")


def item_workflow_prefix(run_id: str, scope: str) -> str:
    """Return what the workflow ids of the items of one `nango.each` begin with.

    Args:
        run_id: The run that they belong to.
        scope: Place of the call in the run.
    """
    return f"each/{run_id}/{scope}/"


def run_of_item(workflow_id: str) -> str | None:
    """Return the run that an item of `nango.each` belongs to, None for another workflow."""
    kind, _, rest = workflow_id.partition("/")
    return rest.partition("/")[0] if kind == "each" else None


def action_workflow_id(environment: str, action_id: str) -> str:
    """Return the workflow id of an action run.

    Args:
        environment: Name of the environment.
        action_id: The UUID by which callers know it.
    """
    return f"action/{environment}/{action_id}"


def action_id_of(workflow_id: str) -> str:
    """Return the id by which callers know an action."""
    return workflow_id.rpartition("/")[2]


def action_status_url(action_id: str) -> str:
    """Return the path at which an action's result is read."""
    return f"/action/{action_id}"


def keyed_action_id(integration: str, connection_id: str, key: str) -> UUID:
    """Return the id of the action that is called with an idempotency key.

    Args:
        integration: Key of the integration.
        connection_id: Name of the connection; the same key of another one is another call.
        key: The caller's key.
    """
    return uuid5(_ACTION_KEYS, "\0".join((integration, connection_id, key)))


def dry_run_workflow_id(environment: str, key: str) -> str:
    """Return the workflow id of a dry run; `key` is a fresh UUID."""
    return f"dry-run/{environment}/{key}"


def connection_workflow_id(
    workflow_type: str, environment: str, integration: str, connection: str
) -> str:
    """Return the workflow id of the creation or deletion of a connection: one of each at a time."""
    return f"{workflow_type}/{environment}/{integration}/{connection}"


def event_workflow_id(
    environment: str, integration: str, connection: str, *, event: str, script: str, key: str
) -> str:
    """Return the workflow id of a script that runs on an event of a connection.

    Args:
        environment: Name of the environment.
        integration: Key of the integration.
        connection: Name of the connection.
        event: What happens.
        script: Name of the script.
        key: A fresh UUID.
    """
    return f"on-event/{environment}/{integration}/{connection}/{event}/{script}/{key}"


def webhook_workflow_id(environment: str, task_id: int) -> str:
    """Return the workflow id of a script that handles a provider's webhook."""
    return f"webhook/{environment}/{task_id}"


def webhooks_workflow_id(environment: str, first: int, last: int) -> str:
    """Return the workflow id of a script that handles several webhooks one after the other."""
    return f"webhook/{environment}/{first}-{last}"


def webhook_dispatch_workflow_id(environment: str, key: ConnectionKey) -> str:
    """Return the workflow id of what has the webhooks of a connection handled in their order."""
    return f"webhook-dispatch/{environment}/{key}"


def event_of_workflow(workflow_id: str) -> tuple[str, str]:
    """Return event and script of an id that `event_workflow_id` gave."""
    _, event, script, _ = workflow_id.rsplit("/", 3)
    return event, script


def delivery_workflow_id(environment: str, delivery_id: str) -> str:
    """Return the workflow id of the delivery of a webhook."""
    return f"webhook-delivery/{environment}/{delivery_id}"
