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
from perdure.app.cli.render.keys import (
    api_keys,
    audit_events,
    encryption_keys,
    environments,
    key_rotation,
    made_api_key,
    made_environment,
)
from perdure.app.cli.render.logs import found_logs, log_line
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
from perdure.app.cli.render.terminal import (
    done,
    failure,
    note,
    print_json,
    print_json_line,
    problem,
    say,
)
from perdure.app.cli.render.webhook_events import webhook_event, webhook_events
from perdure.app.cli.render.webhooks import deliveries, delivery, webhook_settings
from perdure.app.cli.render.workers import builds, plain_builds

__all__ = [
    "actions",
    "api_keys",
    "audit_events",
    "builds",
    "connection",
    "connections",
    "deliveries",
    "delivery",
    "deployed",
    "deployment",
    "deployments",
    "done",
    "dry_run",
    "dry_run_started",
    "encryption_keys",
    "environment",
    "environments",
    "failure",
    "found_logs",
    "integration",
    "integrations",
    "key_rotation",
    "log_line",
    "log_lines",
    "made_api_key",
    "made_environment",
    "note",
    "plain_builds",
    "plain_deployment",
    "plain_replay",
    "plan",
    "print_json",
    "print_json_line",
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
