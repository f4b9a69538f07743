"""Where Prometheus reads what is measured.

The runtime of Temporal's SDK serves it: one address for the SDK's own metrics and for ours. It asks
for no key, so it belongs into a network that only operators reach.
"""

from __future__ import annotations

import time

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from perdure._version import __version__
from perdure.errors import StartupError
from perdure.observability.instruments import INSTRUMENTS, Timing, connect_instruments
from perdure.observability.metrics import STARTED_AT

__all__ = ["serve_metrics"]


def serve_metrics(address: str, *, process: str) -> Runtime:
    """Serve `/metrics` at an address for as long as the process lives.

    Args:
        address: `IP:port`, IPv6 addresses in brackets.
        process: Name of the process.

    Returns:
        The runtime that the process's client has to use.

    Raises:
        StartupError: Nothing can listen there.
    """
    bounds = {each.exposed: each.bounds for each in INSTRUMENTS if isinstance(each, Timing)}
    exporter = PrometheusConfig(
        bind_address=address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=bounds,
    )
    try:
        runtime = Runtime(telemetry=TelemetryConfig(metrics=exporter, attach_service_name=False))
    except ValueError as error:
        msg = (
            f"Metrics cannot be served at {address} (PERDURE_METRICS_ADDRESS): {error}. It has to "
            "be an IP address and a port, such as 127.0.0.1:9464, of its own for each process."
        )
        raise StartupError(msg, code="metrics_address_unavailable") from error
    connect_instruments(runtime.metric_meter)
    STARTED_AT.set(int(time.time()), process=process, version=__version__)
    return runtime
