"""Large payloads outside of histories: which are kept, and which are named."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.testing import ActivityEnvironment

from activities.maintenance import Sweep
from activities.payload_sweep import PayloadSweep
from perdure.clock import utcnow
from perdure.temporal.external_storage import CLAIM_KEY, PostgresStorageDriver
from perdure.temporal.plugin import PerdurePlugin
from perdure.temporal.stand_ins import StandInDriver
from tests.support.stack import Stack

__all__ = ["DAY", "forget_cached", "named", "stored", "sweep"]

DAY = timedelta(days=1)

_CLAIM = re.compile(rf'"{CLAIM_KEY}":\s*"([0-9a-f]{{64}})"'.encode())


async def sweep(stack: Stack, later: timedelta = timedelta()) -> int:
    """Remove what is not needed any more when some time has passed; returns how many payloads."""
    container = stack.container
    steps = PayloadSweep(
        container.database.blobs,
        container.database.payload_rounds,
        container.database.runs,
        container.temporal,
        DAY,
        clock=lambda: utcnow() + later,
    )
    swept = await ActivityEnvironment().run(steps.drop_unused_payloads, Sweep())
    return swept.count


async def stored(stack: Stack) -> set[str]:
    """Return the keys of all payloads that are kept."""
    rows = await stack.container.database.pool.fetch("SELECT key FROM payload_blobs")
    return {row["key"] for row in rows}


async def named(handle: WorkflowHandle[Any, Any], run_id: str | None = None) -> set[str]:
    """Return the keys of the payloads that a history names."""
    client = handle._client
    events = (await client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()).events
    found = (_CLAIM.findall(event.SerializeToString()) for event in events)
    return {key.decode() for keys in found for key in keys}


def forget_cached(stack: Stack) -> None:
    """Have the stack's process know no payload any more, as after its restart."""
    client = stack.container.temporal
    (plugin,) = client.config()["plugins"]
    assert isinstance(plugin, PerdurePlugin)
    assert plugin._for_workers is not None
    for converter in (client.data_converter, plugin._for_workers):
        assert converter.external_storage is not None
        (driver,) = converter.external_storage.drivers
        if isinstance(driver, StandInDriver):
            driver._kept.clear()
            driver._kept_bytes = 0
            driver = driver._driver
        assert isinstance(driver, PostgresStorageDriver)
        driver._cache.clear()
        driver._cached_bytes = 0
