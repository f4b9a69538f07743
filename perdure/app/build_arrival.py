"""A worker of a build that Temporal may not give work to: it says so, or sees to it."""

from __future__ import annotations

import asyncio

import structlog

from perdure.app.container import Container
from perdure.errors import InvalidInputError, UnavailableError
from perdure.temporal.worker_builds import WorkerBuilds

__all__ = ["arrive"]

_LOOK_AGAIN_SECONDS = 1.0

log = structlog.get_logger(__name__)


async def arrive(container: Container, *, promote: bool) -> None:
    """Say whether the build of this worker is given work, once Temporal has heard of it.

    Args:
        container: Of a worker that polls.
        promote: Have the build be given all work, unless it had some before: where it was taken
            back, a worker that is started again must not undo that.
    """
    deployment, name = container.settings.worker_deployment, container.settings.worker_build
    if deployment is None:
        return
    builds = WorkerBuilds(container.temporal, deployment)
    while True:
        try:
            build = next((build for build in await builds.list() if build.name == name), None)
            if build is not None:
                if build.status in ("current", "ramping"):
                    return
                if not promote or build.was_active:
                    log.warning("worker_build_waits", build=name, hint="perdure workers promote")
                    return
                await builds.promote(name)
                log.info("worker_build_promoted", build=name)
                return
        except (UnavailableError, InvalidInputError) as error:
            log.warning("worker_build_unknown", build=name, error=error.message)
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
