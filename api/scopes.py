"""What keys may do: the scopes there are, and which one each endpoint asks for.

A scope is `environment:<resource>:<act>`, or `account:<resource>:<act>` for what concerns more than
one environment. One that ends in `*` stands for all below it, and `*` alone for everything, which
is what the secret key of an environment has.

Every endpoint of the API stands in `RULES`. One that is missing is closed to all but keys that may
do everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["EVERYTHING", "RULES", "SCOPES", "Rule", "expand", "is_scope"]

EVERYTHING = "*"
"""The scope of secret keys."""

SCOPES: Mapping[str, str] = {
    "environment:connections:list": "list connections",
    "environment:connections:read": "read a connection without its credentials",
    "environment:connections:read_credentials": "read the credentials of a connection",
    "environment:connections:list_credentials": "kept for keys of other systems; lists hold none",
    "environment:connections:create": "make connections and import credentials",
    "environment:connections:update": "change connections and their metadata",
    "environment:connections:delete": "delete connections",
    "environment:integrations:list": "list integrations",
    "environment:integrations:read": "read an integration without its credentials",
    "environment:integrations:read_credentials": "read the client credentials of an integration",
    "environment:integrations:list_credentials": "kept for keys of other systems; lists hold none",
    "environment:integrations:create": "make integrations",
    "environment:integrations:update": "change integrations",
    "environment:integrations:delete": "delete integrations",
    "environment:records:read": "read records",
    "environment:records:write": "prune records",
    "environment:syncs:read": "see how syncs stand",
    "environment:syncs:execute": "trigger, start and pause syncs, confirm deletes",
    "environment:syncs:update": "change how often syncs run",
    "environment:syncs:variant:create": "make variants of syncs",
    "environment:syncs:variant:delete": "delete variants of syncs",
    "environment:actions:execute": "call actions and read their results",
    "environment:actions:update": "disable and enable actions",
    "environment:proxy": "call providers' APIs through the proxy",
    "environment:deploy": "plan, make, list and cancel deployments",
    "environment:variables:read": "read variables with their values",
    "environment:variables:write": "set and delete variables",
    "environment:functions:list": "list what scripts there are",
    "environment:functions:read": "read scripts",
    "environment:functions:delete": "delete scripts",
    "environment:functions:dryrun": "try scripts out without deploying them",
    "environment:connect_sessions:write": "make connect sessions",
    "environment:mcp": "use actions as tools of language models",
    "environment:runs:read": "read runs, their logs and histories",
    "environment:runs:execute": "cancel and retry runs",
    "environment:webhooks:read": "read webhooks, deliveries and their settings",
    "environment:webhooks:update": "change webhook settings and keys, send webhooks again",
    "environment:settings:read": "read the settings of the environment",
    "environment:settings:update": "change the settings of the environment",
    "environment:api_keys:list": "list API keys",
    "environment:api_keys:create": "make API keys with the rights that the caller has",
    "environment:api_keys:delete": "revoke API keys",
    "environment:audit:read": "read what was done with keys of the environment",
    "account:environments:list": "list environments",
    "account:environments:create": "make environments",
    "account:environments:delete": "delete environments",
    "account:audit:read": "read what was done with keys of all environments",
    "account:encryption_keys:read": "see what is encrypted with which key",
    "account:encryption_keys:rotate": "have everything encrypted with the newest key",
    "account:payloads:decode": "decrypt payloads for the Temporal UI",
}
"""What each scope allows."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What an endpoint asks for.

    Attributes:
        scopes: A key needs one of them; None where nobody is asked for a key here.
        act: Name of the administrative act in the audit, None where it is none.
        subject: Parameters of the path, the query or the body that say what it is done to.
    """

    scopes: tuple[str, ...] | None
    act: str | None = None
    subject: tuple[str, ...] = ()


def is_scope(text: str) -> bool:
    """Say whether there is such a scope, or any that it stands for."""
    return bool(expand([text]))


def expand(granted: Iterable[str]) -> frozenset[str]:
    """Return the scopes, without asterisks, that are granted; unknown ones are left out."""
    names = set(granted)
    if EVERYTHING in names:
        return frozenset(SCOPES)
    folders = tuple(name[:-1] for name in names if name.endswith(":*"))
    return frozenset(
        name for name in SCOPES if name in names or (folders and name.startswith(folders))
    )


def _environment(scope: str, act: str | None = None, *subject: str) -> Rule:
    return Rule((f"environment:{scope}",), act, subject)


def _account(scope: str, act: str | None = None, *subject: str) -> Rule:
    return Rule((f"account:{scope}",), act, subject)


_OPEN = Rule(None)
_ANY_KEY = Rule(())
_CONNECTION = "{connection_id:path}"
_FUNCTIONS = "/integrations/{unique_key}/functions"
_WEBHOOK = "/webhook/{environment}/{provider_config_key}"

RULES: Mapping[tuple[str, str], Rule] = {
    ("GET", "/health"): _OPEN,
    ("GET", "/health/live"): _OPEN,
    ("GET", "/health/ready"): _OPEN,
    ("GET", "/ready"): _OPEN,
    # Pages that ask for a key themselves.
    ("*", "/dashboard"): _OPEN,
    ("*", "/favicon.ico"): _OPEN,
    ("GET", "/docs/{environment}"): _OPEN,
    ("GET", "/docs/assets/{name}"): _OPEN,
    # Says nothing of anybody, and editors have no key.
    ("GET", "/nango.schema.json"): _OPEN,
    ("POST", _WEBHOOK): _OPEN,
    ("HEAD", _WEBHOOK): _OPEN,
    ("GET", "/codec"): _OPEN,
    ("POST", "/codec/session"): _OPEN,
    # These ask for the token of a connect session instead.
    ("GET", "/connect/session"): _OPEN,
    ("DELETE", "/connect/session"): _OPEN,
    ("POST", "/connect/telemetry"): _OPEN,
    ("GET", "/connect"): _OPEN,
    ("GET", "/connect/assets/{name}"): _OPEN,
    ("GET", "/connect/integrations/{unique_key}"): _OPEN,
    ("POST", "/connect/integrations/{unique_key}"): _OPEN,
    # The WebSocket on which windows hear how an attempt ended.
    ("*", "/"): _OPEN,
    ("GET", "/oauth/connect/{unique_key}"): _OPEN,
    ("GET", "/oauth/callback"): _OPEN,
    ("GET", "/app-auth/connect"): _OPEN,
    ("POST", "/api-auth/api-key/{unique_key}"): _OPEN,
    ("POST", "/api-auth/basic/{unique_key}"): _OPEN,
    ("POST", "/oauth2/auth/{unique_key}"): _OPEN,
    ("POST", "/auth/oauth2-cc/{unique_key}"): _OPEN,
    ("POST", "/auth/tba/{unique_key}"): _OPEN,
    ("POST", "/auth/two-step/{unique_key}"): _OPEN,
    ("POST", "/auth/jwt/{unique_key}"): _OPEN,
    ("POST", "/auth/signature/{unique_key}"): _OPEN,
    ("POST", "/auth/unauthenticated/{unique_key}"): _OPEN,
    ("POST", "/connect/sessions"): _environment("connect_sessions:write"),
    ("POST", "/connect/sessions/reconnect"): _environment("connect_sessions:write"),
    # The description of the API says nothing of anybody.
    ("GET", "/openapi.json"): _ANY_KEY,
    # Nor do providers.
    ("GET", "/providers"): _ANY_KEY,
    ("GET", "/providers/{provider}"): _ANY_KEY,
    ("GET", "/providers/{provider}/templates"): _ANY_KEY,
    ("GET", "/openapi/{environment}.json"): _environment("functions:list"),
    ("POST", "/connections"): _environment("connections:create"),
    ("POST", "/connection"): _environment("connections:create"),
    ("GET", "/connections"): _environment("connections:list"),
    ("GET", "/connection"): _environment("connections:list"),
    ("GET", f"/connections/{_CONNECTION}"): _environment("connections:read"),
    ("GET", f"/connection/{_CONNECTION}"): _environment("connections:read"),
    ("PATCH", f"/connections/{_CONNECTION}"): _environment("connections:update"),
    ("PATCH", f"/connection/{_CONNECTION}"): _environment("connections:update"),
    ("DELETE", f"/connections/{_CONNECTION}"): _environment(
        "connections:delete", "connection.delete", "provider_config_key", "connection_id"
    ),
    ("DELETE", f"/connection/{_CONNECTION}"): _environment(
        "connections:delete", "connection.delete", "provider_config_key", "connection_id"
    ),
    ("POST", "/connections/metadata"): _environment("connections:update"),
    ("PATCH", "/connections/metadata"): _environment("connections:update"),
    ("POST", "/connection/metadata"): _environment("connections:update"),
    ("PATCH", "/connection/metadata"): _environment("connections:update"),
    ("POST", f"/connection/{_CONNECTION}/metadata"): _environment("connections:update"),
    ("PATCH", f"/connection/{_CONNECTION}/metadata"): _environment("connections:update"),
    ("GET", "/integrations"): _environment("integrations:list"),
    ("POST", "/integrations"): _environment(
        "integrations:create", "integration.create", "unique_key"
    ),
    ("GET", "/integrations/{unique_key}"): _environment("integrations:read"),
    ("PATCH", "/integrations/{unique_key}"): _environment(
        "integrations:update", "integration.update", "unique_key"
    ),
    ("POST", "/integrations/quickstart"): _environment(
        "integrations:create", "integration.create", "unique_key", "provider"
    ),
    ("DELETE", "/integrations/{unique_key}"): _environment(
        "integrations:delete", "integration.delete", "unique_key"
    ),
    ("GET", _FUNCTIONS): _environment("functions:list"),
    ("GET", f"{_FUNCTIONS}/{{name}}"): _environment("functions:read"),
    ("GET", f"{_FUNCTIONS}/{{name}}/code"): _environment("functions:read"),
    ("DELETE", f"{_FUNCTIONS}/{{name}}"): _environment(
        "functions:delete", "function.delete", "unique_key", "name"
    ),
    ("GET", "/record-sets"): _environment("records:read"),
    ("GET", "/records"): _environment("records:read"),
    ("GET", "/records/stream"): _environment("records:read"),
    ("PATCH", "/records/prune"): _environment("records:write"),
    ("POST", "/sync/trigger"): _environment("syncs:execute"),
    ("POST", "/sync/start"): _environment("syncs:execute"),
    ("POST", "/sync/pause"): _environment("syncs:execute"),
    ("POST", "/sync/confirm-deletes"): _environment(
        "syncs:execute", "sync.confirm_deletes", "provider_config_key", "connection_id", "sync"
    ),
    ("GET", "/sync/status"): _environment("syncs:read"),
    ("PUT", "/sync/update-connection-frequency"): _environment("syncs:update"),
    ("POST", "/sync/{name}/variant/{variant}"): _environment("syncs:variant:create"),
    ("DELETE", "/sync/{name}/variant/{variant}"): _environment("syncs:variant:delete"),
    ("POST", "/action/trigger"): _environment("actions:execute"),
    ("GET", "/action/{action_id}"): _environment("actions:execute"),
    ("POST", "/action/disable"): _environment(
        "actions:update", "action.disable", "provider_config_key", "action_name"
    ),
    ("POST", "/action/enable"): _environment(
        "actions:update", "action.enable", "provider_config_key", "action_name"
    ),
    ("GET", "/scripts/config"): _environment("functions:list"),
    # These only say that scripts are Python here.
    ("POST", "/sync/deploy"): _ANY_KEY,
    ("POST", "/sync/deploy/confirmation"): _ANY_KEY,
    ("POST", "/functions/compile"): _ANY_KEY,
    ("POST", "/functions/dryruns"): _ANY_KEY,
    ("POST", "/functions/deployments"): _ANY_KEY,
    ("POST", "/functions/invocations"): _ANY_KEY,
    ("POST", "/deployments/plan"): _environment("deploy"),
    ("POST", "/deployments"): _environment("deploy", "deployment.create", "target"),
    ("POST", "/deployments/cancel"): _environment("deploy", "deployment.cancel"),
    ("GET", "/deployments"): _environment("deploy"),
    ("GET", "/deployments/{deployment_id}"): _environment("deploy"),
    ("GET", "/deployments/{deployment_id}/changes"): _environment("deploy"),
    ("POST", "/dry-runs"): _environment("functions:dryrun"),
    ("GET", "/dry-runs/{run_id}"): _environment("functions:dryrun"),
    ("GET", "/runs"): _environment("runs:read"),
    ("GET", "/runs/{run_id}"): _environment("runs:read"),
    ("GET", "/runs/{run_id}/history"): _environment("runs:read"),
    ("GET", "/runs/{run_id}/timeline"): _environment("runs:read"),
    ("GET", "/runs/{run_id}/source"): _environment("functions:read"),
    ("POST", "/runs/{run_id}/cancel"): _environment("runs:execute"),
    ("POST", "/runs/{run_id}/retry"): _environment("runs:execute"),
    ("GET", "/overview"): _environment("runs:read"),
    ("GET", "/syncs"): _environment("syncs:read"),
    ("GET", "/logs"): _environment("runs:read"),
    ("GET", "/runs/{run_id}/logs"): _environment("runs:read"),
    ("GET", "/environment"): _environment("settings:read"),
    ("PATCH", "/environment"): _environment("settings:update", "environment.update"),
    ("GET", "/environment-variables"): _environment("variables:read"),
    ("PUT", "/environment-variables/{name}"): _environment(
        "variables:write", "variable.set", "name"
    ),
    ("DELETE", "/environment-variables/{name}"): _environment(
        "variables:write", "variable.delete", "name"
    ),
    ("GET", "/environment/webhooks"): _environment("webhooks:read"),
    ("PATCH", "/environment/webhooks"): _environment("webhooks:update", "webhooks.update"),
    ("POST", "/environment/webhook-signing-key/rotate"): _environment(
        "webhooks:update", "webhook_signing_key.rotate"
    ),
    ("GET", "/webhooks/deliveries"): _environment("webhooks:read"),
    ("GET", "/webhooks/deliveries/{delivery_id}"): _environment("webhooks:read"),
    ("POST", "/webhooks/deliveries/{delivery_id}/redeliver"): _environment("webhooks:update"),
    ("GET", "/webhooks/events"): _environment("webhooks:read"),
    ("GET", "/webhooks/events/{event_id}"): _environment("webhooks:read"),
    ("POST", "/webhooks/events/{event_id}/replay"): _environment("webhooks:update"),
    ("GET", "/environment/api-keys"): _environment("api_keys:list"),
    ("POST", "/environment/api-keys"): _environment("api_keys:create", "api_key.create", "name"),
    ("DELETE", "/environment/api-keys/{key_id}"): _environment(
        "api_keys:delete", "api_key.revoke", "key_id"
    ),
    ("GET", "/audit"): _environment("audit:read"),
    ("GET", "/environments"): _account("environments:list"),
    ("POST", "/environments"): _account("environments:create", "environment.create", "name"),
    ("DELETE", "/environments/{name}"): _account(
        "environments:delete", "environment.delete", "name"
    ),
    ("GET", "/encryption-keys"): _account("encryption_keys:read"),
    ("POST", "/encryption-keys/rotate"): _account(
        "encryption_keys:rotate", "encryption_keys.rotate"
    ),
    ("POST", "/codec/decode"): _account("payloads:decode"),
    ("POST", "/codec/{session}/decode"): _account("payloads:decode"),
    # What it does is looked up, and then asked for: see `api.routers.v1`.
    ("*", "/v1/{path:path}"): Rule(("environment:records:read", "environment:actions:execute")),
    ("*", "/proxy/{path:path}"): _environment("proxy"),
    ("*", "/mcp"): _environment("mcp"),
}
"""By method and path; the method `*` stands for all that an endpoint takes."""
