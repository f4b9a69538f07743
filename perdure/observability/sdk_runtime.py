"""What Temporal's SDK runs on: it logs as the process does, and serves what is measured.

Metrics are the SDK's own and ours at one address. It asks for no key, so it belongs into a network
that only operators reach.
"""

from __future__ import annotations

import logging
import time
from functools import cache

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from perdure._version import __version__
from perdure.errors import StartupError
from perdure.observability.instruments import INSTRUMENTS, Timing, connect_instruments
from perdure.observability.metrics import STARTED_AT

__all__ = ["sdk_runtime"]

# Left to itself the SDK's core writes lines of its own form onto standard output.
_LOGGING = LoggingConfig(
    filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
    forwarding=LogForwardingConfig(
        logger=logging.getLogger("temporalio"),
        append_target_to_name=False,
        prepend_target_on_message=False,
        append_log_fields_to_message=False,
    ),
)


def sdk_runtime(process: str, *, metrics_address: str | None) -> Runtime:
    """Return the runtime that the process's client has to use.

    Args:
        process: Name of the process.
        metrics_address: `IP:port` at which `/metrics` is served for as long as the process lives,
            IPv6 addresses in brackets; None for nowhere.

    Raises:
        StartupError: Nothing can listen there.
    """
    if metrics_address is None:
        return _without_metrics()
    bounds = {each.exposed: each.bounds for each in INSTRUMENTS if isinstance(each, Timing)}
    exporter = PrometheusConfig(
        bind_address=metrics_address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=bounds,
    )
    try:
        runtime = Runtime(
            telemetry=TelemetryConfig(logging=_LOGGING, metrics=exporter, attach_service_name=False)
        )
    except ValueError as error:
        msg = (
            f"Metrics cannot be served at {metrics_address} (PERDURE_METRICS_ADDRESS): {error}. "
            "It has to be an IP address and a port, such as 127.0.0.1:9464, of its own for each "
            "process."
        )
        raise StartupError(msg, code="metrics_address_unavailable") from error
    connect_instruments(runtime.metric_meter)
    STARTED_AT.set(int(time.time()), process=process, version=__version__)
    return runtime


@cache
def _without_metrics() -> Runtime:
    # Each runtime has threads of its own.
    return Runtime(telemetry=TelemetryConfig(logging=_LOGGING))
