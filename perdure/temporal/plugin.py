"""One plugin wires client, worker and replayer, so that they can never disagree.

Workers have a converter of their own, which stores and reads what that of the others does.
"""

from __future__ import annotations

from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import Interceptor, WorkerConfig, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

from perdure.errors import PerdureError
from perdure.temporal.heartbeat import HeartbeatInterceptor
from perdure.temporal.interceptors import ErrorInterceptor
from perdure.temporal.log_context import LogInterceptor
from perdure.temporal.watchdog import Watchdog, WatchedRunner

__all__ = ["PerdurePlugin"]

# Our own modules hold no state of a run, so they are not loaded anew for each workflow. What
# they import goes with them.
_PASSTHROUGH = ("perdure", "workflows", "activities", "config", "opentelemetry", "orjson")


class PerdurePlugin(SimplePlugin):
    """Converter, sandbox and error mapping of Perdure.

    Args:
        converter: See `perdure.temporal.converter.data_converter`.
        watchdog: Ends runs whose script blocks; workers have one.
        tracing: Carries traces from clients to workflows and on to steps.
        for_workers: What workers use in place of the converter, None where that serves them, too.
    """

    def __init__(
        self,
        converter: DataConverter,
        watchdog: Watchdog | None = None,
        tracing: Interceptor | None = None,
        for_workers: DataConverter | None = None,
    ) -> None:
        self._for_workers = for_workers
        # Scripts are loaded while their run is active; there is nothing unusual to warn about.
        restrictions = SandboxRestrictions.default.with_passthrough_modules(
            *_PASSTHROUGH
        ).with_import_notification_policy(SandboxImportNotificationPolicy.SILENT)
        sandbox = SandboxedWorkflowRunner(restrictions=restrictions)
        runner: WorkflowRunner = WatchedRunner(sandbox, watchdog) if watchdog else sandbox
        super().__init__(
            "perdure",
            data_converter=converter,
            # From the outside in: a span is to see the failure that Temporal sees.
            interceptors=[
                *([tracing] if tracing else ()),
                LogInterceptor(),
                ErrorInterceptor(),
                HeartbeatInterceptor(),
            ],
            workflow_runner=runner,
            workflow_failure_exception_types=[PerdureError],
        )

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """See base class."""
        config = super().configure_worker(config)
        if self._for_workers is not None:
            own = config["client"].config(active_config=True)
            own["data_converter"] = self._for_workers
            own["plugins"] = []
            config["client"] = Client(**own)
        return config
