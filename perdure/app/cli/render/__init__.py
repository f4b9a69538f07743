"""What the commands print: tables for people, JSON for programs, one line for an error."""

from perdure.app.cli.render.answers import (
    connection,
    connections,
    deployment,
    environment,
    integrations,
    plain_deployment,
    records,
    run,
    runs,
    sync_status,
)
from perdure.app.cli.render.terminal import failure, note, print_json, problem, say

__all__ = [
    "connection",
    "connections",
    "deployment",
    "environment",
    "failure",
    "integrations",
    "note",
    "plain_deployment",
    "print_json",
    "problem",
    "records",
    "run",
    "runs",
    "say",
    "sync_status",
]
