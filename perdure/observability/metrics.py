"""What is measured. `docs/observability.md` says what each of them is good for."""

from __future__ import annotations

from typing import Final

from perdure.observability.instruments import Counter, Level, Timing

__all__ = [
    "API_REFUSALS",
    "API_REQUESTS",
    "API_REQUEST_SECONDS",
    "CREDENTIAL_REFRESHES",
    "DATABASE_CONNECTIONS",
    "OUTBOUND_SECONDS",
    "PAGE_SECONDS",
    "PROVIDER_WAIT_SECONDS",
    "RECEIVED_WEBHOOKS",
    "RECORDS",
    "RUNS",
    "RUN_SECONDS",
    "SCHEDULE_LAG_SECONDS",
    "STARTED_AT",
    "SYNCS",
    "WEBHOOK_AGE_SECONDS",
    "WEBHOOK_ATTEMPTS",
]

_REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAIT_BOUNDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)

RUNS: Final = Counter(
    "perdure_runs_ended",
    "Runs that have ended, by how they did.",
    ("environment", "integration", "kind", "script", "outcome"),
)
SYNCS: Final = Level(
    "perdure_syncs",
    "Syncs of connections, by how their last run that has ended did.",
    ("environment", "integration", "script", "outcome"),
)
RUN_SECONDS: Final = Timing(
    "perdure_run_duration",
    "Time from the start of a run to its end.",
    ("integration", "kind", "script"),
    bounds=(0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0),
)
RECORDS: Final = Counter(
    "perdure_records",
    "Records that runs have handed over, by what became of them.",
    ("environment", "integration", "model", "outcome"),
)
PAGE_SECONDS: Final = Timing(
    "perdure_page_fetch_duration",
    "Time from asking for a page to having it, decoded; failures are not among them.",
    ("integration",),
    bounds=_REQUEST_BOUNDS,
)
OUTBOUND_SECONDS: Final = Timing(
    "perdure_outbound_request_duration",
    "Time from a request that leaves to the headers of its answer.",
    ("purpose", "provider", "status"),
    bounds=_REQUEST_BOUNDS,
)
PROVIDER_WAIT_SECONDS: Final = Timing(
    "perdure_provider_wait",
    "How long providers have asked to wait before a request is made again.",
    ("integration",),
    bounds=_WAIT_BOUNDS,
)
CREDENTIAL_REFRESHES: Final = Counter(
    "perdure_credential_refreshes",
    "Attempts to renew credentials, by how they ended.",
    ("integration", "outcome"),
)
WEBHOOK_ATTEMPTS: Final = Counter(
    "perdure_webhook_attempts",
    "Attempts to deliver a webhook to the application, by what came of them.",
    ("type", "outcome"),
)
WEBHOOK_AGE_SECONDS: Final = Timing(
    "perdure_webhook_age",
    "Age of a webhook to the application when an attempt to deliver it was over.",
    ("outcome",),
    bounds=(0.1, 0.5, *_WAIT_BOUNDS),
)
RECEIVED_WEBHOOKS: Final = Counter(
    "perdure_webhooks_received",
    "Webhooks of providers, by what was said to them.",
    ("integration", "outcome"),
)
SCHEDULE_LAG_SECONDS: Final = Timing(
    "perdure_schedule_lag",
    "Time from the moment a run was due to the moment a worker began it.",
    ("integration",),
    bounds=(0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0),
)
API_REQUESTS: Final = Counter(
    "perdure_api_requests",
    "Requests to the API, by the path that serves them.",
    ("method", "route", "status"),
)
API_REQUEST_SECONDS: Final = Timing(
    "perdure_api_request_duration",
    "Time from a request to the API to the end of its answer.",
    ("method", "route"),
    bounds=_REQUEST_BOUNDS,
)
API_REFUSALS: Final = Counter(
    "perdure_api_refusals",
    "Requests to the API that did not get past their key.",
    ("reason",),
)
DATABASE_CONNECTIONS: Final = Level(
    "perdure_database_connections",
    "Connections to Postgres that the process has, busy and idle, and may have.",
    ("state",),
)
STARTED_AT: Final = Level(
    "perdure_process_start_time",
    "When the process started, in seconds since 1970, and what it is.",
    ("process", "version"),
)
