"""The how-to on replacing an encryption key, followed with an API and a worker of its own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client

from config.settings import Settings
from perdure.crypto.keyring import new_key
from tests.docs.blocks import blocks_of
from tests.docs.walk import ROOT, Walk, free_port
from tests.support.secret_texts import SECRETS
from tests.support.stack import namespaced

PAGE = ROOT / "docs/how-to/rotate-keys.md"

RESTART = """#!/usr/bin/env bash
# Ends the API and the worker, and starts them with the ring of now.
set -a && . ./ring.env
runs() { grep -qs '^State:[[:space:]]*[^Z]' /proc/$1/status; }
for process in api worker; do
  if pid=$(cat $process.pid 2>/dev/null); then
    kill $pid
    while runs $pid; do sleep 0.1; done
  fi
  perdure $process >>$process.log 2>&1 &
  echo $! >$process.pid
done
until curl -sf "$NANGO_HOSTPORT/health/ready" >/dev/null; do
  runs $(cat api.pid) || exit 1
  sleep 0.1
done
"""

SET_UP = (
    "PERDURE_ENCRYPTION_KEYS=$(cut -d= -f2- ring.env) perdure migrate",
    "./restart-all",
    "perdure integrations create crm --provider generic-api-key",
    "perdure connections create crm --id acme --api-key key-of-acme"
    " --config baseUrl=https://api.example.com",
)


@pytest.fixture
async def server(settings: Settings) -> dict[str, str]:
    """The settings of processes with a database and a namespace of their own."""
    name = f"how_to_{uuid.uuid4().hex}"
    url = settings.database_url.get_secret_value()
    admin = await asyncpg.connect(url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
    finally:
        await admin.close()
    own = await namespaced(settings)
    port, key = free_port(), SECRETS.learn(str(uuid.uuid4()), "key of the how-to on rotation")
    return {
        "PERDURE_DATABASE_URL": url.replace("/perdure?", f"/{name}?"),
        "PERDURE_PORT": port,
        "PERDURE_SECRET_KEY": key,
        "PERDURE_DRAIN_SECONDS": "0",
        "TEMPORAL_ADDRESS": own.temporal_address,
        "TEMPORAL_NAMESPACE": own.temporal_namespace,
        "NANGO_HOSTPORT": f"http://127.0.0.1:{port}",
        "NANGO_SECRET_KEY_DEV": key,
    }


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_key_is_replaced_by_doing_what_the_page_says(
    tmp_path: Path, server: dict[str, str]
) -> None:
    old = SECRETS.learn(new_key(), "key that is replaced")
    (tmp_path / "ring.env").write_text(f"PERDURE_ENCRYPTION_KEYS={old}\n")
    (tmp_path / "restart-all").write_text(RESTART)
    (tmp_path / "restart-all").chmod(0o755)
    walk = Walk(tmp_path, {}, server)
    try:
        for command in SET_UP:
            await asyncio.to_thread(walk.run, command)
        for block in blocks_of(PAGE, PAGE.name):
            if "can be retired" in block.content:
                await let_retention_pass(server)
            await asyncio.to_thread(walk.follow, block)
        ring = (tmp_path / "ring.env").read_text().removeprefix("PERDURE_ENCRYPTION_KEYS=").strip()
        assert SECRETS.learn(ring, "key that replaces it").count(":") == 1
        shown = await asyncio.to_thread(
            walk.run, "perdure connections show crm acme --show-credentials"
        )
        assert "key-of-acme" in shown
    finally:
        await asyncio.to_thread(walk.end)
        end_processes(tmp_path)


async def let_retention_pass(server: Mapping[str, str]) -> None:
    """Remove the histories of what has ended, as Temporal does after some days."""
    client = await Client.connect(
        server["TEMPORAL_ADDRESS"], namespace=server["TEMPORAL_NAMESPACE"]
    )
    async for found in client.list_workflows("ExecutionStatus != 'Running'"):
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=found.id, run_id=found.run_id),
            )
        )


def end_processes(folder: Path) -> None:
    for file in folder.glob("*.pid"):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(file.read_text()))
            process.terminate()
            process.wait(20)
