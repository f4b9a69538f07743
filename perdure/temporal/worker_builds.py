"""Builds of the worker, as Temporal tells them apart, and which of them gets the work.

Workers of one deployment say which build they are. The server gives runs to the **current** build,
and a share of them to one that is **ramping**; all other builds wait. That holds for runs that are
under way, too: at their next step they go on in the build that is current then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import RoutingConfigUpdateState, WorkerDeploymentVersionStatus
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentResponse,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
)
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

from perdure.errors import InvalidInputError, UnavailableError
from perdure.temporal.client import unavailable

__all__ = ["Build", "WorkerBuilds", "deployment_config"]

_RPC_TIMEOUT = timedelta(seconds=10)
_TRIES = 10
_TRY_AGAIN_SECONDS = 1.0
# A busy server takes its time to tell every task queue.
_LOOKS = 600
_LOOK_AGAIN_SECONDS = 0.2

_STATUS = {
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT: "current",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING: "ramping",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING: "draining",
    WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED: "drained",
}


def deployment_config(deployment: str, build: str) -> WorkerDeploymentConfig:
    """Return what a worker says of itself, and where its runs go on after an upgrade.

    Runs move to the current build at their next step (`AUTO_UPGRADE`). Pinned to the build they
    began with, syncs that take days would need the workers of each build for as long, and runs
    that are retried weeks later those of builds that nobody keeps. What makes the move safe is
    that every build replays the histories of the releases before it.
    """
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment, build),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


@dataclass(frozen=True, slots=True)
class Build:
    """A build of the worker that the server has seen.

    Attributes:
        name: Its build id.
        status: `current`; `ramping`; `draining`, it was either and has runs that did not move yet;
            `drained`, it has none any more; `inactive`, it never was either.
        percent: Share of the runs that it gets, from 0 to 100.
        since: When it began to be what it is, None where the server does not say.
        was_active: It is, or was at any time, current or ramping.
    """

    name: str
    status: str
    percent: float
    since: datetime | None
    was_active: bool


class WorkerBuilds:
    """The builds of one deployment.

    Args:
        client: Connected to the namespace of the workers.
        deployment: Name that the workers share.
    """

    def __init__(self, client: Client, deployment: str) -> None:
        self._client = client
        self._deployment = deployment

    async def list(self) -> list[Build]:
        """Return all builds, the newest first; none where no worker has asked for work yet.

        Raises:
            UnavailableError: Temporal does not answer.
        """
        described = await self._describe()
        if described is None:
            return []
        info = described.worker_deployment_info
        ramping = info.routing_config.ramping_version_percentage
        builds = []
        for item in info.version_summaries:
            status = _STATUS.get(item.status, "inactive")
            percent = {"ramping": ramping, "current": 100 - ramping}.get(status, 0)
            since = {
                "current": item.current_since_time,
                "ramping": item.ramping_since_time,
                "inactive": item.create_time,
            }.get(status, item.last_deactivation_time)
            was_active = item.HasField("first_activation_time") or status != "inactive"
            name = item.deployment_version.build_id
            build = Build(name, status, percent, _moment(since), was_active)
            builds.append((item.create_time.ToNanoseconds(), build))
        return [build for _, build in sorted(builds, key=itemgetter(0), reverse=True)]

    async def promote(self, build: str) -> None:
        """Give all work to a build, and wait until every task queue knows.

        Raises:
            InvalidInputError: `unknown_build`, no worker of this build asks for work, or not on
                every task queue where there is some.
            UnavailableError: Temporal does not answer.
        """

        async def promote() -> None:
            await self._client.workflow_service.set_worker_deployment_current_version(
                SetWorkerDeploymentCurrentVersionRequest(
                    namespace=self._client.namespace,
                    deployment_name=self._deployment,
                    build_id=build,
                    identity=self._client.identity,
                ),
                timeout=_RPC_TIMEOUT,
            )

        await self._change(build, promote)

    async def ramp(self, build: str, percent: float) -> None:
        """Give a share of the work to a build beside the current one; 0 ends that.

        A run belongs to the share or not by its id, so it does not go back and forth.

        Raises:
            InvalidInputError: `unknown_build`, as `promote`.
            UnavailableError: Temporal does not answer.
        """

        async def ramp() -> None:
            await self._client.workflow_service.set_worker_deployment_ramping_version(
                SetWorkerDeploymentRampingVersionRequest(
                    namespace=self._client.namespace,
                    deployment_name=self._deployment,
                    build_id=build if percent else "",
                    percentage=percent,
                    identity=self._client.identity,
                ),
                timeout=_RPC_TIMEOUT,
            )

        await self._change(build, ramp)

    async def _change(self, build: str, change: Callable[[], Awaitable[None]]) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                await change()
                break
            except RPCError as error:
                if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION):
                    raise unavailable(error) or error from error
                # Of workers that have just started the server hears on one queue after the other.
                if error.status is RPCStatusCode.NOT_FOUND or not tries_left:
                    msg = f"Temporal gives no work to {build!r}: {error.message}"
                    raise InvalidInputError(msg, code="unknown_build") from error
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
        for _ in range(_LOOKS):
            if await self._is_known_everywhere():
                return
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        msg = "Temporal has taken the change, but not told every task queue of it yet."
        raise UnavailableError(msg, code="temporal_unavailable")

    async def _is_known_everywhere(self) -> bool:
        described = await self._describe()
        under_way = RoutingConfigUpdateState.ROUTING_CONFIG_UPDATE_STATE_IN_PROGRESS
        return (
            described is not None
            and described.worker_deployment_info.routing_config_update_state != under_way
        )

    async def _describe(self) -> DescribeWorkerDeploymentResponse | None:
        try:
            return await self._client.workflow_service.describe_worker_deployment(
                DescribeWorkerDeploymentRequest(
                    namespace=self._client.namespace, deployment_name=self._deployment
                ),
                timeout=_RPC_TIMEOUT,
            )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise unavailable(error) or error from error


def _moment(timestamp: Timestamp) -> datetime | None:
    return timestamp.ToDatetime(UTC) if timestamp.ByteSize() else None
