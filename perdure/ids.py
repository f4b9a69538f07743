"""Names that identify things, and the one place where workflow ids are put together."""

from __future__ import annotations

from typing import NewType

__all__ = [
    "BASE_VARIANT",
    "BundleHash",
    "ConnectionKey",
    "EnvironmentId",
    "action_workflow_id",
    "delivery_workflow_id",
    "dry_run_workflow_id",
    "shadow_variant",
    "sync_workflow_id",
]

EnvironmentId = NewType("EnvironmentId", int)
"""Row id of an environment."""

ConnectionKey = NewType("ConnectionKey", int)
"""Row id of a connection; `connection_id` is the name that users give it."""

BundleHash = NewType("BundleHash", str)
"""Content hash of a bundle, 64 hexadecimal digits."""

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


def action_workflow_id(environment: str, key: str) -> str:
    """Return the workflow id of an action run.

    Args:
        environment: Name of the environment.
        key: A fresh UUID, or the caller's idempotency key.
    """
    return f"action/{environment}/{key}"


def dry_run_workflow_id(environment: str, key: str) -> str:
    """Return the workflow id of a dry run; `key` is a fresh UUID."""
    return f"dry-run/{environment}/{key}"


def delivery_workflow_id(environment: str, delivery_id: str) -> str:
    """Return the workflow id of the delivery of a webhook."""
    return f"webhook-delivery/{environment}/{delivery_id}"
