"""What webhooks say: one function for each kind, in the shape that Nango's clients know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from perdure.records.canonical import JsonObject

__all__ = [
    "AuthOperation",
    "AuthSubject",
    "SyncSubject",
    "async_action_payload",
    "auth_payload",
    "forward_payload",
    "sync_error_payload",
    "sync_success_payload",
    "webhook_error",
]

AuthOperation: TypeAlias = Literal["creation", "override", "refresh"]
"""What was done to credentials: made, replaced by the user, renewed by the engine."""


@dataclass(frozen=True, slots=True)
class SyncSubject:
    """The sync run that a webhook speaks of.

    Attributes:
        connection_id: Name of the connection.
        integration: Key of the integration.
        sync: Name of the sync.
        variant: Variant of the sync.
        incremental: Whether the run went on from an earlier one.
        started_at: When the run started.
    """

    connection_id: str
    integration: str
    sync: str
    variant: str
    incremental: bool
    started_at: datetime


@dataclass(frozen=True, slots=True)
class AuthSubject:
    """The connection that a webhook speaks of.

    Attributes:
        connection_id: Its name.
        integration: Key of its integration.
        provider: Name of its provider.
        auth_mode: How the provider authenticates, such as `API_KEY`.
        environment: Name of the environment.
        tags: Its tags.
        end_user: Whom it belongs to: `id`, `email`, `organization`, `tags`.
    """

    connection_id: str
    integration: str
    provider: str
    auth_mode: str
    environment: str
    tags: Mapping[str, str]
    end_user: JsonObject | None


def sync_success_payload(
    run: SyncSubject,
    model: str,
    changes: Mapping[str, int],
    checkpoints: JsonObject | None = None,
) -> JsonObject:
    """Say that a sync succeeded, for one of its models.

    Args:
        run: The run.
        model: Name of the model.
        changes: `added`, `updated` and `deleted` records; what is missing is 0.
        checkpoints: `from` and `to`, the checkpoint that the run found and the one it left; None
            where it wrote none.
    """
    started_at = _iso(run.started_at)
    return {
        **_sync(run, model),
        "success": True,
        "modifiedAfter": started_at,
        "queryTimeStamp": started_at if run.incremental else None,
        "responseResults": {name: changes.get(name, 0) for name in ("added", "updated", "deleted")},
        **({} if checkpoints is None else {"checkpoints": checkpoints}),
    }


def sync_error_payload(
    run: SyncSubject, models: tuple[str, ...], error: JsonObject, *, failed_at: datetime
) -> JsonObject:
    """Say that a sync failed.

    Args:
        run: The run.
        models: Names of the sync's models.
        error: See `webhook_error`.
        failed_at: When it failed.
    """
    return {
        **_sync(run, ",".join(models)),
        "success": False,
        "error": error,
        "startedAt": _iso(run.started_at),
        "failedAt": _iso(failed_at),
    }


def auth_payload(
    connection: AuthSubject, operation: AuthOperation, error: JsonObject | None = None
) -> JsonObject:
    """Say that credentials were made, replaced or renewed, or could not be.

    Args:
        connection: The connection.
        operation: What was done.
        error: See `webhook_error`; None where it succeeded.
    """
    payload: JsonObject = {
        "from": "nango",
        "type": "auth",
        "operation": operation,
        "connectionId": connection.connection_id,
        "authMode": connection.auth_mode,
        "providerConfigKey": connection.integration,
        "provider": connection.provider,
        "environment": connection.environment,
        "success": error is None,
    }
    if connection.tags:
        payload["tags"] = dict(connection.tags)
    if connection.end_user is not None:
        payload["endUser"] = _end_user(connection.end_user)
    if error is not None:
        payload["error"] = {name: error[name] for name in ("type", "description")}
    return payload


def async_action_payload(
    connection_id: str, integration: str, action_id: str, status_url: str
) -> JsonObject:
    """Say that an action that nobody waited for has ended.

    Args:
        connection_id: Name of the connection.
        integration: Key of the integration.
        action_id: Id under which its result is read.
        status_url: Path at which its result is read.
    """
    return {
        "from": "nango",
        "type": "async_action",
        "connectionId": connection_id,
        "providerConfigKey": integration,
        "payload": {"id": action_id, "statusUrl": status_url},
    }


def forward_payload(
    provider: str, integration: str, connection_id: str | None, payload: Any
) -> Any:
    """Hand on a webhook that a provider sent.

    Args:
        provider: Name of the provider.
        integration: Key of the integration.
        connection_id: Whom it concerns; None where that is not known: it is handed on as it came.
        payload: Decoded body of the provider's webhook.
    """
    if connection_id is None:
        return payload
    return {
        "from": provider,
        "type": "forward",
        "connectionId": connection_id,
        "providerConfigKey": integration,
        "payload": payload,
    }


def webhook_error(failure: Mapping[str, Any]) -> JsonObject:
    """Return a failure as webhooks show it.

    Args:
        failure: What `describe_failure` gave: `type`, `message`, and maybe `payload` and
            `upstream`, the provider's answer that made a script fail.
    """
    error: JsonObject = {"type": failure["type"], "description": failure["message"]}
    if failure.get("payload") is not None:
        error["payload"] = failure["payload"]
    if failure.get("upstream") is not None:
        error["additional_properties"] = {"upstream_response": failure["upstream"]}
    return error


def _sync(run: SyncSubject, model: str) -> JsonObject:
    return {
        "from": "nango",
        "type": "sync",
        "connectionId": run.connection_id,
        "providerConfigKey": run.integration,
        "syncName": run.sync,
        "syncVariant": run.variant,
        "model": model,
        "syncType": "INCREMENTAL" if run.incremental else "INITIAL",
    }


def _end_user(end_user: JsonObject) -> JsonObject:
    organization = end_user.get("organization") or {}
    shown = {
        "endUserId": end_user.get("id"),
        "endUserEmail": end_user.get("email"),
        "organizationId": organization.get("id"),
    }
    present = {name: value for name, value in shown.items() if value is not None}
    return {**present, "tags": end_user.get("tags") or {}}


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
