"""Settings of the processes. The environment is read here and nowhere else."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from perdure._version import __version__

__all__ = ["ClientSettings", "Settings"]


def _listed(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_listed)]
"""Networks, with commas between them."""


class Settings(BaseSettings):
    """Settings of the api and worker processes; each field is `PERDURE_<NAME>`.

    The Temporal address and namespace also go by Temporal's own variables.
    """

    model_config = SettingsConfigDict(env_prefix="PERDURE_", extra="ignore", frozen=True)

    database_url: SecretStr = Field(
        default=SecretStr("postgresql://postgres@localhost:5432/perdure"),
        description="Postgres 14 or newer.",
    )
    database_pool_size: int = Field(default=10, ge=2, description="Connections per process.")
    temporal_address: str = Field(
        default="localhost:7233",
        validation_alias="TEMPORAL_ADDRESS",
        description="Host and port of the Temporal server.",
    )
    temporal_namespace: str = Field(
        default="default",
        validation_alias="TEMPORAL_NAMESPACE",
        description="Namespace that runs are started in.",
    )
    temporal_api_key: SecretStr | None = Field(
        default=None, validation_alias="TEMPORAL_API_KEY", description="Key for Temporal Cloud."
    )
    temporal_tls: bool = Field(
        default=False,
        validation_alias="TEMPORAL_TLS",
        description="Speak TLS to the Temporal server.",
    )
    temporal_ui_url: str | None = Field(
        default=None, description="Base URL of the Temporal UI, for links to runs."
    )
    encryption_keys: SecretStr | None = Field(
        default=None,
        description=(
            "Key ring `id:base64,...` of 32-byte AES keys. The first encrypts, all decrypt. "
            "`perdure keys new` prints one."
        ),
    )
    encrypt_payloads: Literal["secrets", "all"] = Field(
        default="secrets",
        description="Which Temporal payloads are encrypted: only those with secrets, or all.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="Secret key (a UUID) that the `dev` environment is given by `perdure migrate`.",
    )
    server_url: str | None = Field(
        default=None,
        description="URL under which providers and browsers reach the API, for webhook addresses.",
    )
    host: str = Field(default="127.0.0.1", description="Address that the API listens at.")
    port: int = Field(default=3003, ge=0, le=65535, description="Port of the API; 0 for any.")
    drain_seconds: float = Field(
        default=5,
        ge=0,
        description=(
            "How long the API still answers after it was told to stop, saying that it is not "
            "ready, so that whoever spreads requests sends them elsewhere."
        ),
    )
    requests_per_minute: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Requests that a key may make in a minute, in each API process; default no limit."
        ),
    )
    metrics_address: str | None = Field(
        default=None,
        description=(
            "`IP:port` at which this process serves `/metrics` to Prometheus, without a key; "
            "default not at all."
        ),
    )
    traces_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
        ),
        description="Where traces go, by OTLP over HTTP; default nowhere.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least grave lines of the processes' own logs."
    )
    log_format: Literal["console", "json"] = Field(
        default="json", description="Lines of these logs as JSON, or for people."
    )
    allow_private_networks: bool = Field(
        default=False,
        description="Let outbound calls reach loopback and private addresses (local development).",
    )
    outbound_allowed_networks: Networks = Field(
        default=(),
        description=(
            "Networks that outbound calls may reach though they are not public, as in "
            "`10.1.0.0/16,fd12::/32`."
        ),
    )
    outbound_denied_networks: Networks = Field(
        default=(),
        description="Networks that outbound calls may not reach, whatever else allows it.",
    )
    outbound_max_body_mb: int = Field(
        default=100,
        ge=1,
        description="Largest answer that scripts get from a provider, decompressed.",
    )
    proxy_max_body_mb: int = Field(
        default=1024,
        ge=1,
        description="Largest body that passes through `/proxy`, in either direction.",
    )
    proxy_silence_seconds: float = Field(
        default=300,
        gt=0,
        description="How long either side of a call of `/proxy` may be silent.",
    )
    proxy_limit_seconds: float = Field(
        default=3600,
        gt=0,
        description="How long a call of `/proxy` may take in all.",
    )
    webhook_retry_days: float = Field(
        default=3,
        gt=0,
        le=30,
        description="How long a webhook is sent again to a receiver that does not take it.",
    )
    hook_limit_seconds: float = Field(
        default=300,
        gt=0,
        le=86_400,
        description="How long a script that runs on an event of a connection may take.",
    )
    refresh_backoff_seconds: float = Field(
        default=30,
        gt=0,
        description="How long credentials are not refreshed again after that failed.",
    )
    # How long things are kept that nobody needs any more.
    runs_days: float = Field(
        default=90,
        gt=0,
        description=(
            "How long runs that have ended are kept, with their logs. The last run of each sync "
            "stays."
        ),
    )
    payloads_days: float = Field(
        default=3,
        gt=0,
        description=(
            "How long the pages and batches of syncs that are too large for a history are kept "
            "once their run has ended well. All else of that size stays for as long as Temporal "
            "keeps a history that may name it."
        ),
    )
    compress_payloads: bool = Field(
        default=False,
        description=(
            "Whether new payloads that are too large for a history are compressed. Every process "
            "reads those, but none of a release that does not have this setting: set it once all "
            "have. `perdure dev` sets it."
        ),
    )
    audit_days: float = Field(
        default=365, gt=0, description="How long it is known what was done with which key."
    )
    webhook_deliveries_days: float = Field(
        default=30,
        gt=0,
        description=(
            "How long webhooks to the application are kept, with their bodies, once they were "
            "delivered or given up."
        ),
    )
    webhook_events_days: float = Field(
        default=7,
        gt=0,
        description=(
            "How long what providers have sent is kept once it was handled. A delivery that is "
            "repeated within that time is known."
        ),
    )
    action_keys_days: float = Field(
        default=90,
        gt=0,
        description=(
            "How long idempotency keys of actions that have ended are known; longer than Temporal "
            "keeps runs."
        ),
    )
    records_prune_after_days: int | None = Field(
        default=None,
        ge=1,
        description="Give up payloads of records that did not change for so long; default never.",
    )
    records_drop_after_days: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Remove the records of syncs that did not run for so long; default never. When such a "
            "sync runs again it fetches everything anew."
        ),
    )
    temporal_history_events: int = Field(
        default=51_200,
        ge=50,
        description=(
            "Events after which the Temporal server ends a run (`limit.historyCount.error`); "
            "runs are kept well below."
        ),
    )
    worker_steps: int = Field(
        default=100,
        ge=1,
        description=(
            "Steps that a worker process carries out at once in each of its two task queues; more "
            "of them wait for their turn."
        ),
    )
    worker_deployment: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9_-]{1,64}$",
        description=(
            "Name that all workers share. With it Temporal gives work only to the build that "
            "`perdure workers promote` has made current; without it, to any worker."
        ),
    )
    worker_build: str = Field(
        default=f"perdure-{__version__}",
        pattern="^[A-Za-z0-9._-]{1,128}$",
        description="What a worker says it runs; one for each state of the code.",
    )
    ready_file: Path | None = Field(
        default=None,
        description=(
            "File that the worker touches every five seconds while it takes work; "
            "`perdure worker --check` looks at it."
        ),
    )
    providers: Path | None = Field(
        default=None, description="File or folder with further provider entries."
    )

    @property
    def webhook_patience(self) -> timedelta:
        """How long a webhook is sent again to a receiver that does not take it."""
        return timedelta(days=self.webhook_retry_days)


class ClientSettings(BaseSettings):
    """What the CLI needs to speak to a server; flags win over these, these over a `dev.json`."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    server: str | None = Field(default=None, validation_alias="NANGO_HOSTPORT")
    secret_key: SecretStr | None = Field(default=None, validation_alias="NANGO_SECRET_KEY_DEV")
