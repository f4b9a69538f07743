"""What the commands print: tables for people, JSON for programs, one line for an error."""

from perdure.app.cli.render.answers import (
    actions,
    connection,
    connections,
    environment,
    integration,
    integrations,
    records,
    retried,
    run,
    runs,
    sync_status,
    variables,
)
from perdure.app.cli.render.dry_run import dry_run, dry_run_started, log_lines
from perdure.app.cli.render.plan import (
    deployed,
    deployment,
    deployments,
    plain_deployment,
    plan,
    warnings,
)
from perdure.app.cli.render.providers import provider, providers
from perdure.app.cli.render.replay import plain_replay, replay
from perdure.app.cli.render.terminal import failure, note, print_json, problem, say
from perdure.app.cli.render.webhook_events import webhook_event, webhook_events
from perdure.app.cli.render.webhooks import deliveries, delivery, webhook_settings

__all__ = [
    "actions",
    "connection",
    "connections",
    "deliveries",
    "delivery",
    "deployed",
    "deployment",
    "deployments",
    "dry_run",
    "dry_run_started",
    "environment",
    "failure",
    "integration",
    "integrations",
    "log_lines",
    "note",
    "plain_deployment",
    "plain_replay",
    "plan",
    "print_json",
    "problem",
    "provider",
    "providers",
    "records",
    "replay",
    "retried",
    "run",
    "runs",
    "say",
    "sync_status",
    "variables",
    "warnings",
    "webhook_event",
    "webhook_events",
    "webhook_settings",
]
