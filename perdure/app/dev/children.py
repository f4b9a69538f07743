"""The processes of ours that `perdure dev` runs, told what they need by environment variables."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from api.codec_session import open_session
from api.dashboard.tickets import make_ticket
from perdure.app.dev.contract import Programs
from perdure.app.dev.folder import DataFolder, Secrets
from perdure.crypto.keyring import KeyRing
from perdure.embedded.ports import LOOPBACK
from perdure.embedded.postgres import Postgres
from perdure.embedded.process import Program, Service
from perdure.embedded.temporal import NAMESPACE, Temporal

__all__ = ["Children", "children", "codec_endpoint", "dashboard_link"]


@dataclass(frozen=True, slots=True)
class Children:
    """The processes of ours.

    Attributes:
        migrate: Ends by itself.
        api: Serves the API.
        worker: Runs the workers.
    """

    migrate: Program
    api: Service
    worker: Service


@dataclass(frozen=True, slots=True)
class MetricsPorts:
    """Where our processes serve their metrics, each on a port of its own."""

    api: int
    worker: int

    @property
    def urls(self) -> dict[str, str]:
        """The same by process, as a browser takes it."""
        ports = {"api": self.api, "worker": self.worker}
        return {name: f"http://{LOOPBACK}:{port}/metrics" for name, port in ports.items()}


def children(
    *,
    programs: Programs,
    folder: DataFolder,
    secrets: Secrets,
    port: int,
    metrics: MetricsPorts,
    postgres: Postgres,
    temporal: Temporal,
) -> Children:
    """Describe our processes for a stack.

    Args:
        programs: Their commands.
        folder: Where their logs go.
        secrets: The API key and the encryption keys.
        port: Port of the API.
        metrics: Ports of the metrics.
        postgres: The database they use.
        temporal: The Temporal server they use.
    """
    # A tunnel's URL, which somebody set to receive webhooks, stays.
    reached = {"PERDURE_SERVER_URL": f"http://{LOOPBACK}:{port}"}
    # All processes are of one release.
    defaults = reached | {"PERDURE_COMPRESS_PAYLOADS": "true"}
    environment = (
        defaults
        | _inherited(os.environ)
        | {
            "PERDURE_DATABASE_URL": postgres.database_url,
            "TEMPORAL_ADDRESS": temporal.address,
            "TEMPORAL_NAMESPACE": NAMESPACE,
            "PERDURE_TEMPORAL_UI_URL": temporal.ui_url or "",
            "PERDURE_SECRET_KEY": secrets.secret_key.get_secret_value(),
            "PERDURE_ENCRYPTION_KEYS": secrets.encryption_keys.get_secret_value(),
            "PERDURE_HOST": LOOPBACK,
            "PERDURE_PORT": str(port),
            "PERDURE_ALLOW_PRIVATE_NETWORKS": "true",
            # There is one API, so nobody can be sent to another.
            "PERDURE_DRAIN_SECONDS": "0",
            # What the worker would start itself anew for.
            "PYTHONHASHSEED": "0",
            "TZ": "UTC",
        }
    )

    async def api_answers() -> bool:
        return await asyncio.to_thread(_is_healthy, port)

    async def worker_polls() -> bool:
        return folder.worker_ready.exists()

    def forget_readiness() -> None:
        folder.worker_ready.unlink(missing_ok=True)

    return Children(
        migrate=Program(
            name="migrate",
            command=programs.migrate,
            environment=environment,
            log=folder.log("migrate"),
        ),
        api=Service(
            name="api",
            command=programs.api,
            environment=environment | _metrics_at(metrics.api),
            log=folder.log("api"),
            probe=api_answers,
        ),
        worker=Service(
            name="worker",
            command=programs.worker,
            environment=environment
            | _metrics_at(metrics.worker)
            | {"PERDURE_READY_FILE": str(folder.worker_ready)},
            log=folder.log("worker"),
            probe=worker_polls,
            before=forget_readiness,
        ),
    )


def codec_endpoint(port: int, secrets: Secrets) -> str:
    """Return where the Temporal UI of a stack has payloads decrypted.

    Args:
        port: Port of the API.
        secrets: The API key, for which a part of the address stands, and the encryption keys.
    """
    ring = KeyRing.parse(secrets.encryption_keys.get_secret_value())
    session = open_session(ring, secrets.secret_key.get_secret_value(), seconds=None)
    return f"http://{LOOPBACK}:{port}/codec/{session}"


def dashboard_link(port: int, secrets: Secrets) -> str:
    """Return a link to the dashboard of a stack that signs in.

    Whoever reads it could as well read the key in `dev.json`, on the same machine.
    """
    ring = KeyRing.parse(secrets.encryption_keys.get_secret_value())
    ticket = make_ticket(ring, secrets.secret_key.get_secret_value())
    return f"http://{LOOPBACK}:{port}/dashboard/sign-in?ticket={ticket}"


def _metrics_at(port: int) -> dict[str, str]:
    return {"PERDURE_METRICS_ADDRESS": f"{LOOPBACK}:{port}"}


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what children get of our environment.

    Variables that are meant for another Temporal (TEMPORAL_TLS) or another Postgres (PGPORT) would
    have them speak to ours in the wrong way, and a build of the worker would wait to be promoted.
    """
    others = ("TEMPORAL_", "PERDURE_WORKER_DEPLOYMENT")
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(others) and not (name.startswith("PG") and "_" not in name)
    }
    return {"PERDURE_LOG_FORMAT": "console", "PYTHONUNBUFFERED": "1"} | kept


def _is_healthy(port: int) -> bool:
    connection = HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
