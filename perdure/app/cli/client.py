"""Speaks HTTP to a Perdure server; the only module of the command line that does.

What a server refuses becomes an `ApiError` with the server's own code and message; a server that
does not answer becomes a `CliError`. The secret key stands in no message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import httpx

from perdure._version import __version__
from perdure.app.cli.errors import ApiError, CliError, hint_for
from perdure.app.cli.target import Target

__all__ = ["ApiClient", "open_client"]

Query = Mapping[str, str | int | Sequence[str] | None]

_TIMEOUT = 60.0
# An action may run for a quarter of an hour, and a deploy touches every connection's schedules.
_LONG_TIMEOUT = 16 * 60.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SHOWN_BODY = 200
_IS_IT_PERDURE = "is it the address of a Perdure server?"


@asynccontextmanager
async def open_client(target: Target) -> AsyncIterator[ApiClient]:
    """Open a client for as long as the context lasts.

    Raises:
        CliError: The server's address is not a URL.
    """
    try:
        host = urlsplit(target.server).hostname
        http = httpx.AsyncClient(
            base_url=target.server,
            headers={
                "authorization": f"Bearer {target.secret_key}",
                "user-agent": f"perdure-cli/{__version__}",
            },
            timeout=_TIMEOUT,
            # A proxy of the network does not lead to this machine.
            trust_env=host not in _LOOPBACK,
        )
    except (ValueError, httpx.InvalidURL) as error:
        msg = f"{target.server!r} is not the URL of a server"
        raise CliError(msg, code="invalid_server", hint="write http://host:port") from error
    async with http:
        yield ApiClient(http, target.server)


class ApiClient:
    """The endpoints of a server, as the commands use them. Every answer is decoded JSON.

    Args:
        http: With base URL and key.
        server: The base URL, for messages.
    """

    def __init__(self, http: httpx.AsyncClient, server: str) -> None:
        self._http = http
        self._server = server

    async def plan(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a deploy would change: of `files`, or of a `bundle` that is put back."""
        return await self._object("POST", "/deployments/plan", body=_given(wanted))

    async def deploy(
        self, wanted: Mapping[str, Any], *, allow_destructive: bool, base: int | None = None
    ) -> dict[str, Any]:
        """Deploy what `plan` was asked about.

        Args:
            wanted: As of `plan`.
            allow_destructive: Whether scripts may be removed, records erased, and scripts outside
                of the target changed.
            base: That of the plan: nothing else may have been deployed since.
        """
        body = {**wanted, "allow_destructive": allow_destructive, "base": base}
        return await self._object("POST", "/deployments", body=_given(body), timeout=_LONG_TIMEOUT)

    async def cancel_deployment(self) -> dict[str, Any]:
        """Have the deploy that is under way end early."""
        return await self._object("POST", "/deployments/cancel", timeout=_LONG_TIMEOUT)

    async def list_deployments(self, limit: int) -> dict[str, Any]:
        """Return deployments, the newest first."""
        return await self._object("GET", "/deployments", query={"limit": limit})

    async def get_deployment(self, deployment: int) -> dict[str, Any]:
        """Return a deployment with what it deployed."""
        return await self._object("GET", f"/deployments/{deployment}")

    async def environment(self) -> dict[str, Any]:
        """Return the environment that the key opens."""
        return await self._object("GET", "/environment")

    async def change_environment(self, **changes: str | int | None) -> dict[str, Any]:
        """Change the environment."""
        return await self._object("PATCH", "/environment", body=_given(changes))

    async def list_environments(self) -> dict[str, Any]:
        """Return all environments."""
        return await self._object("GET", "/environments")

    async def create_environment(self, name: str) -> dict[str, Any]:
        """Make an environment; the answer shows its first key."""
        return await self._object("POST", "/environments", body={"name": name})

    async def delete_environment(self, name: str) -> dict[str, Any]:
        """Delete an environment without connections."""
        return await self._object("DELETE", f"/environments/{quote(name, safe='')}")

    async def list_api_keys(self, *, revoked: bool = False) -> dict[str, Any]:
        """Return the API keys of the environment, on request those that are revoked, too."""
        return await self._object(
            "GET", "/environment/api-keys", query={"revoked": "true" if revoked else None}
        )

    async def create_api_key(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make an API key; the answer shows it."""
        return await self._object("POST", "/environment/api-keys", body=_given(body))

    async def revoke_api_key(self, key_id: str) -> dict[str, Any]:
        """Have an API key open nothing any more."""
        return await self._object("DELETE", f"/environment/api-keys/{quote(key_id, safe='')}")

    async def encryption_keys(self) -> dict[str, Any]:
        """Return what is encrypted with which key."""
        return await self._object("GET", "/encryption-keys")

    async def rotate_encryption_keys(self) -> dict[str, Any]:
        """Have everything encrypted with the first key of the ring."""
        return await self._object("POST", "/encryption-keys/rotate")

    async def list_audit_events(self, query: Query) -> dict[str, Any]:
        """Return administrative acts, the newest first."""
        return await self._object("GET", "/audit", query=query)

    async def list_variables(self) -> list[dict[str, Any]]:
        """Return the variables of the environment with their values."""
        answer = await self._call("GET", "/environment-variables")
        if not isinstance(answer, list):
            msg = f"{self._server} did not answer with a list"
            raise CliError(msg, code="not_perdure", hint=_IS_IT_PERDURE)
        return answer

    async def set_variable(self, name: str, value: str) -> dict[str, Any]:
        """Set a variable of the environment."""
        path = f"/environment-variables/{quote(name, safe='')}"
        return await self._object("PUT", path, body={"value": value})

    async def delete_variable(self, name: str) -> dict[str, Any]:
        """Delete a variable of the environment."""
        return await self._object("DELETE", f"/environment-variables/{quote(name, safe='')}")

    async def list_providers(self, search: str | None = None) -> dict[str, Any]:
        """Return the providers of the catalogue, or those that a text finds."""
        return await self._object("GET", "/providers", query={"search": search})

    async def get_provider(self, name: str) -> dict[str, Any]:
        """Return a provider."""
        return await self._object("GET", f"/providers/{quote(name, safe='')}")

    async def create_integration(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make an integration."""
        return await self._object("POST", "/integrations", body=_given(body))

    async def change_integration(
        self, unique_key: str, changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Change an integration."""
        path = f"/integrations/{quote(unique_key, safe='')}"
        return await self._object("PATCH", path, body=changes)

    async def get_integration(self, unique_key: str) -> dict[str, Any]:
        """Return an integration with its webhook address and its credentials."""
        query = {"include": ["webhook", "credentials"]}
        path = f"/integrations/{quote(unique_key, safe='')}"
        return await self._object("GET", path, query=query)

    async def delete_integration(self, unique_key: str) -> dict[str, Any]:
        """Delete an integration with its connections."""
        return await self._object("DELETE", f"/integrations/{quote(unique_key, safe='')}")

    async def list_integrations(self) -> dict[str, Any]:
        """Return all integrations."""
        return await self._object("GET", "/integrations")

    async def create_connection(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a connection."""
        return await self._object("POST", "/connections", body=_given(body))

    async def list_connections(self, integration: str | None = None) -> dict[str, Any]:
        """Return connections, of all integrations or of one."""
        return await self._object("GET", "/connections", query={"integrationId": integration})

    async def get_connection(
        self, integration: str, connection_id: str, *, force_refresh: bool = False
    ) -> dict[str, Any]:
        """Return a connection with its credentials, on demand with new ones and all of them."""
        query = {"provider_config_key": integration}
        if force_refresh:
            query |= {"force_refresh": "true", "refresh_token": "true"}
        return await self._object(
            "GET", f"/connections/{quote(connection_id, safe='')}", query=query
        )

    async def change_connection(
        self, integration: str, connection_id: str, changes: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Change whom a connection belongs to, its tags, or where its webhooks go."""
        path = f"/connections/{quote(connection_id, safe='')}"
        query = {"provider_config_key": integration}
        return await self._object("PATCH", path, query=query, body=dict(changes))

    async def change_metadata(
        self,
        method: Literal["POST", "PATCH"],
        integration: str,
        connection_id: str,
        metadata: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Replace the metadata of a connection, or with PATCH set keys of it."""
        body = {
            "provider_config_key": integration,
            "connection_id": connection_id,
            "metadata": metadata,
        }
        return await self._object(method, "/connections/metadata", body=body)

    async def create_connect_session(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a session in which an end user connects accounts."""
        return await self._object("POST", "/connect/sessions", body=_given(body))

    async def create_reconnect_session(
        self, integration: str, connection_id: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Make a session in which a connection is given new credentials."""
        which = {"integration_id": integration, "connection_id": connection_id}
        return await self._object("POST", "/connect/sessions/reconnect", body=_given(body) | which)

    async def delete_connection(self, integration: str, connection_id: str) -> dict[str, Any]:
        """Delete a connection with its schedules and records."""
        path = f"/connections/{quote(connection_id, safe='')}"
        return await self._object("DELETE", path, query={"provider_config_key": integration})

    async def command_syncs(
        self,
        command: Literal["trigger", "pause", "start"],
        integration: str,
        syncs: Sequence[str],
        connection_id: str | None,
        opts: Mapping[str, bool] | None = None,
    ) -> dict[str, Any]:
        """Trigger, pause or start syncs; no names stand for all of them."""
        body = {
            "provider_config_key": integration,
            "syncs": list(syncs),
            "connection_id": connection_id,
            "opts": opts,
        }
        return await self._object("POST", f"/sync/{command}", body=_given(body))

    async def confirm_deletes(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out deletions that are held back, or dismiss them."""
        return await self._object("POST", "/sync/confirm-deletes", body=_given(body))

    async def set_frequency(
        self,
        integration: str,
        connection_id: str,
        sync: str,
        variant: str,
        frequency: str | None,
    ) -> dict[str, Any]:
        """Change how often a sync of a connection runs; None is as often as deployed."""
        body = {
            "provider_config_key": integration,
            "connection_id": connection_id,
            "sync_name": sync,
            "sync_variant": variant,
            "frequency": frequency,
        }
        return await self._object("PUT", "/sync/update-connection-frequency", body=body)

    async def change_variant(
        self,
        method: Literal["POST", "DELETE"],
        integration: str,
        connection_id: str,
        sync: str,
        variant: str,
    ) -> dict[str, Any]:
        """Create or delete a variant of a sync of a connection."""
        path = f"/sync/{quote(sync, safe='')}/variant/{quote(variant, safe='')}"
        body = {"provider_config_key": integration, "connection_id": connection_id}
        return await self._object(method, path, body=body)

    async def cancel_run(self, run_id: str) -> dict[str, Any]:
        """End a run that is under way."""
        return await self._object("POST", f"/runs/{quote(run_id, safe='')}/cancel")

    async def sync_status(
        self, integration: str, syncs: Sequence[str], connection_id: str | None
    ) -> dict[str, Any]:
        """Return how syncs stand; no names stand for all of them."""
        query = {
            "provider_config_key": integration,
            "syncs": ",".join(syncs) or "*",
            "connection_id": connection_id,
        }
        return await self._object("GET", "/sync/status", query=query)

    async def list_records(
        self, integration: str, connection_id: str, query: Query
    ) -> dict[str, Any]:
        """Return a page of records."""
        headers = {"connection-id": connection_id, "provider-config-key": integration}
        return await self._object("GET", "/records", query=query, headers=headers)

    async def trigger_action(
        self,
        integration: str,
        connection_id: str,
        action: str,
        input_: object,
        options: Mapping[str, str],
    ) -> Any:
        """Call an action and return its output, or with `x-async` among the options its id."""
        headers = {"connection-id": connection_id, "provider-config-key": integration, **options}
        body = {"action_name": action, "input": input_}
        return await self._call(
            "POST", "/action/trigger", body=body, headers=headers, timeout=_LONG_TIMEOUT
        )

    async def action_result(self, action_id: str) -> Any:
        """Return what an action returned."""
        return await self._call("GET", f"/action/{quote(action_id, safe='')}")

    async def switch_action(
        self, command: Literal["disable", "enable"], integration: str, action: str
    ) -> dict[str, Any]:
        """Refuse calls of an action, or take them again."""
        body = {"provider_config_key": integration, "action_name": action}
        return await self._object("POST", f"/action/{command}", body=body)

    async def list_runs(self, query: Query) -> dict[str, Any]:
        """Return runs, the newest first."""
        return await self._object("GET", "/runs", query=query)

    async def get_run(self, run_id: str) -> dict[str, Any]:
        """Return a run with its log."""
        return await self._object("GET", f"/runs/{quote(run_id, safe='')}")

    async def search_logs(self, query: Query) -> dict[str, Any]:
        """Return lines of the logs of all runs, the newest first."""
        return await self._object("GET", "/logs", query=query)

    async def read_run_log(self, run_id: str, cursor: str | None) -> dict[str, Any]:
        """Return what a run logged after the cursor, and whether it has ended."""
        path = f"/runs/{quote(run_id, safe='')}/logs"
        return await self._object("GET", path, query={"cursor": cursor})

    async def get_run_history(self, run_id: str) -> dict[str, Any]:
        """Return the history of a run, for a replay."""
        path = f"/runs/{quote(run_id, safe='')}/history"
        return await self._object("GET", path, timeout=_LONG_TIMEOUT)

    async def retry_run(self, run_id: str, bundle: str) -> dict[str, Any]:
        """Let a run go on at the step that failed; `bundle` is `own` or `active`."""
        path = f"/runs/{quote(run_id, safe='')}/retry"
        return await self._object("POST", path, body={"bundle": bundle}, timeout=_LONG_TIMEOUT)

    async def start_dry_run(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Start a dry run of a script of a project."""
        return await self._object("POST", "/dry-runs", body=_given(wanted), timeout=_LONG_TIMEOUT)

    async def get_dry_run(self, run_id: str) -> dict[str, Any]:
        """Return a dry run as it stands, and what it would have done."""
        return await self._object("GET", f"/dry-runs/{quote(run_id, safe='')}")

    async def webhook_settings(self, changes: Mapping[str, str | bool | None]) -> dict[str, Any]:
        """Return what the environment wants to be told, after changes if there are any."""
        if not changes:
            return await self._object("GET", "/environment/webhooks")
        return await self._object("PATCH", "/environment/webhooks", body=dict(changes))

    async def rotate_webhook_key(self) -> dict[str, Any]:
        """Make a new signing key."""
        return await self._object("POST", "/environment/webhook-signing-key/rotate")

    async def list_deliveries(self, query: Query) -> dict[str, Any]:
        """Return webhooks, the newest first."""
        return await self._object("GET", "/webhooks/deliveries", query=query)

    async def failed_deliveries(self, page: int) -> list[str]:
        """Return the ids of all webhooks that failed, the oldest first, read in pages."""
        ids: list[str] = []
        cursor: str | None = None
        while True:
            query: Query = {"status": "failed", "limit": page, "cursor": cursor}
            answer = await self.list_deliveries(query)
            ids += [delivery["id"] for delivery in answer["deliveries"]]
            cursor = answer["next_cursor"]
            if cursor is None:
                return ids[::-1]

    async def get_delivery(self, delivery: str) -> dict[str, Any]:
        """Return a webhook with what it says and its attempts."""
        return await self._object("GET", f"/webhooks/deliveries/{quote(delivery, safe='')}")

    async def list_webhook_events(self, query: Query) -> dict[str, Any]:
        """Return what providers have sent, the newest first."""
        return await self._object("GET", "/webhooks/events", query=query)

    async def get_webhook_event(self, event: str) -> dict[str, Any]:
        """Return a webhook of a provider with what it says and what was done about it."""
        return await self._object("GET", f"/webhooks/events/{quote(event, safe='')}")

    async def replay_webhook_event(self, event: str) -> dict[str, Any]:
        """Have a webhook of a provider handled again."""
        return await self._object("POST", f"/webhooks/events/{quote(event, safe='')}/replay")

    async def redeliver(self, delivery: str) -> dict[str, Any]:
        """Send a webhook again."""
        path = f"/webhooks/deliveries/{quote(delivery, safe='')}/redeliver"
        return await self._object("POST", path)

    async def _object(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = await self._call(method, path, **options)
        if not isinstance(answer, dict):
            msg = f"{self._server} did not answer with an object"
            raise CliError(msg, code="not_perdure", hint=_IS_IT_PERDURE)
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = _TIMEOUT,  # noqa: ASYNC109 - it is httpx that waits
    ) -> Any:
        try:
            answer = await self._http.request(
                method,
                path,
                params=_given(query or {}),
                json=body,
                headers=headers,
                timeout=httpx.Timeout(timeout, connect=10.0),
            )
        except httpx.TimeoutException as error:
            msg = f"{self._server} did not answer in time"
            raise CliError(msg, code="server_timeout") from error
        except httpx.TransportError as error:
            msg = f"{self._server} does not answer"
            code = "server_unreachable"
            raise CliError(msg, code=code, hint=hint_for(code)) from error
        if answer.is_success:
            return _decoded(answer, self._server)
        raise _api_error(answer, self._server)


def _decoded(answer: httpx.Response, server: str) -> Any:
    if not answer.content:
        return None
    try:
        return answer.json()
    except ValueError as error:
        raise _not_perdure(answer, server) from error


def _api_error(answer: httpx.Response, server: str) -> CliError:
    try:
        error = answer.json()["error"]
        code = str(error["code"])
    except (ValueError, KeyError, TypeError):
        return _not_perdure(answer, server)
    message = str(error.get("message") or code)
    payload = error.get("payload")
    details = payload.get("problems") if isinstance(payload, Mapping) else None
    return ApiError(
        message,
        code=code,
        status=answer.status_code,
        details=details or [_detail(item) for item in error.get("errors") or ()],
        payload=payload,
    )


def _detail(item: Mapping[str, Any]) -> str:
    path = ".".join(map(str, item.get("path") or ()))
    return f"{path}: {item.get('message', '')}" if path else str(item.get("message", ""))


def _not_perdure(answer: httpx.Response, server: str) -> CliError:
    text = " ".join(answer.text[:_SHOWN_BODY].split())
    msg = f"{server} answered {answer.status_code} without JSON of Perdure's: {text!r}"
    return CliError(msg, code="not_perdure", hint=_IS_IT_PERDURE)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
