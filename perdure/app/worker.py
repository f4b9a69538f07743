"""The worker process: syncs on one task queue, everything shorter on another."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from types import FrameType

import structlog
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.maintenance_schedule import ensure_maintenance
from activities.webhook_dispatch import WebhookDispatcher, WebhookSweep
from config.settings import Settings
from perdure.app.build_arrival import arrive
from perdure.app.container import Container, open_container
from perdure.app.registrations import (
    ACTION_WORKFLOWS,
    ITEM_WORKFLOWS,
    SYNC_WORKFLOWS,
    activities_of,
    starter_of,
)
from perdure.app.schema_wait import until_migrated
from perdure.app.sign_of_life import signs_of_life
from perdure.app.signals import stopped_by_signals
from perdure.app.worker_end import end_workers
from perdure.errors import StartupError
from perdure.proxy.transport import HttpTransport
from perdure.scripts import guard
from perdure.scripts.loader import bundle_file, is_script_file
from perdure.temporal.names import TaskQueue
from perdure.temporal.slots import SlotInterceptor
from perdure.temporal.watchdog import Blocked, Watchdog
from perdure.temporal.worker_builds import deployment_config

__all__ = ["locate_script", "run_worker", "workers"]

# A workflow whose worker died is given to another one after this long.
_STICKY_TIMEOUT = timedelta(seconds=2)
_GRACE = timedelta(seconds=5)
# Progress that is seen late is progress that is lost at a kill: at most two beats a second.
_HEARTBEAT_THROTTLE = timedelta(milliseconds=500)

log = structlog.get_logger(__name__)


def locate_script(frame: FrameType) -> str | None:
    """Return `file:line` of a script's frame, None for any other."""
    filename = frame.f_code.co_filename
    return f"{bundle_file(filename)}:{frame.f_lineno}" if is_script_file(filename) else None


def workers(container: Container, transport: HttpTransport) -> list[Worker]:
    """Return one worker for each task queue."""
    guard.install()
    activities = activities_of(container, transport)
    queues = {TaskQueue.SYNCS: SYNC_WORKFLOWS, TaskQueue.ACTIONS: ACTION_WORKFLOWS}
    deployment, build = container.settings.worker_deployment, container.settings.worker_build
    return [
        Worker(
            container.temporal,
            task_queue=queue,
            workflows=[*workflows, *ITEM_WORKFLOWS],
            activities=activities,
            build_id=None if deployment else build,
            deployment_config=deployment_config(deployment, build) if deployment else None,
            max_concurrent_activities=container.settings.worker_steps,
            interceptors=[SlotInterceptor(container.settings.worker_steps)],
            sticky_queue_schedule_to_start_timeout=_STICKY_TIMEOUT,
            max_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
            graceful_shutdown_timeout=_GRACE,
        )
        for queue, workflows in queues.items()
    ]


async def run_worker(settings: Settings, *, promote: bool = False) -> None:
    """Run the worker until SIGTERM or SIGINT, then let its activities end in a few seconds.

    A second signal ends it at once, and it ends by itself when ending takes too long; see
    `perdure.app.worker_end`. What is not done by then is done again by another worker.

    Args:
        settings: As read from the environment.
        promote: Give all work to this build once it asks for some, unless it had work before: a
            build that was taken back stays so.

    Raises:
        StartupError: A setting is missing or wrong, a server does not answer, the database lacks
            revisions and goes on to lack them, or the worker stopped by itself, so that whoever
            supervises it starts another one.
    """
    loop = asyncio.get_running_loop()
    terminations: set[asyncio.Task[None]] = set()

    def on_stuck(blocked: Blocked) -> None:
        loop.call_soon_threadsafe(terminate, blocked)

    watchdog = Watchdog(locate_script, on_stuck)
    async with AsyncExitStack() as stack:
        container = await stack.enter_async_context(
            open_container(settings, name="perdure-worker", watchdog=watchdog)
        )
        await until_migrated(container.database)

        def terminate(blocked: Blocked) -> None:
            task = loop.create_task(_terminate(container, blocked))
            terminations.add(task)
            task.add_done_callback(terminations.discard)

        scheduling = asyncio.create_task(ensure_maintenance(container.temporal))
        sweep = WebhookSweep(
            container.database, WebhookDispatcher(container.temporal), starter_of(container)
        )
        sweeping = asyncio.create_task(sweep.run())
        stop = asyncio.Event()
        stack.enter_context(stopped_by_signals(stop.set))
        polling = workers(container, container.transport)
        running = [asyncio.create_task(worker.run()) for worker in polling]
        arriving = asyncio.create_task(arrive(container, promote=promote))
        stopping = asyncio.create_task(stop.wait())
        async with signs_of_life(settings.ready_file):
            log.info("worker_started", task_queues=[queue.value for queue in TaskQueue])
            ended, _ = await asyncio.wait([*running, stopping], return_when=asyncio.FIRST_COMPLETED)
        log.info("worker_stopping")
        scheduling.cancel()
        sweeping.cancel()
        arriving.cancel()
        was_told = stopping in ended
        results = await end_workers(
            polling, running, code=0 if was_told else 1, last=container.keeper.settled
        )
    if not was_told:
        cause = next((result for result in results if result is not None), None)
        msg = f"The worker stopped by itself: {cause or 'no reason was given'}"
        raise StartupError(msg, code="worker_stopped") from cause


async def _terminate(container: Container, blocked: Blocked) -> None:
    handle = container.temporal.get_workflow_handle(blocked.workflow_id, run_id=blocked.run_id)
    try:
        await handle.terminate(reason=blocked.message)
    except RPCError as error:
        log.warning("termination_failed", run_id=blocked.run_id, status=error.status.name)
    else:
        log.error("run_terminated", run_id=blocked.run_id, where=blocked.where)
