"""Perdure on real servers: what a test does with it, in a few words."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from pydantic import SecretStr
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowHandle

from activities.bundles import script_files
from config.compile import compile_project
from config.settings import Settings
from perdure.app.container import Container
from perdure.clock import utcnow
from perdure.crypto.keyring import new_key
from perdure.db.connections import Connection
from perdure.db.environments import Environment, ValidationMode
from perdure.db.record_batches import NOBODY, Writer
from perdure.db.records import RecordFilter, RecordSet
from perdure.ids import EnvironmentId
from perdure.records.prepare import prepare_batch
from perdure.scripts.bundle import ScriptKind
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import (
    ActionInput,
    HistoryLimits,
    RunContext,
    SyncInput,
    SyncResult,
)


def settings_for(database_url: str, temporal_address: str, **changes: Any) -> Settings:
    """Return settings of a process, with keys of its own unless given."""
    values: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "TEMPORAL_ADDRESS": temporal_address,
        "encryption_keys": SecretStr(new_key()),
        "allow_private_networks": True,
        "log_format": "console",
    }
    return Settings(**{**values, **changes})


async def namespaced(settings: Settings, **changes: Any) -> Settings:
    """Return settings of a Temporal namespace of its own, for workers of their own.

    Task queues are found by name, so other workers of the namespace would take the tasks.
    """
    namespace = f"test-{uuid.uuid4().hex[:8]}"
    client = await Client.connect(settings.temporal_address)
    request = RegisterNamespaceRequest(namespace=namespace)
    request.workflow_execution_retention_period.FromTimedelta(timedelta(days=1))
    await client.workflow_service.register_namespace(request)
    return settings_for(
        settings.database_url.get_secret_value(),
        settings.temporal_address,
        TEMPORAL_NAMESPACE=namespace,
        **changes,
    )


@dataclass
class Stack:
    """One environment of a running Perdure."""

    container: Container
    environment: Environment
    secret_key: str

    @classmethod
    async def create(cls, container: Container) -> Stack:
        """Make an environment of its own for a test."""
        key = str(uuid.uuid4())
        environment = await container.database.environments.ensure(f"t{key[:8]}", key)
        return cls(container, environment, key)

    async def validation(self, mode: ValidationMode) -> None:
        """Say how strict the environment is."""
        database = self.container.database
        self.environment = await database.environments.set_validation(self.environment.id, mode)

    async def deploy(self, files: Mapping[str, str]) -> str:
        """Make a project the active bundle; returns its hash."""
        compiled = compile_project(files).project
        database = self.container.database
        await database.bundles.put(compiled.hash, compiled.files, compiled.config.to_json())
        await database.bundles.deploy(self.environment.id, compiled.hash)
        return compiled.hash

    async def connect(
        self,
        url: str,
        *,
        connection_id: str = "acme",
        api_key: str = "key-of-acme",
        metadata: Mapping[str, Any] | None = None,
        provider: str = "generic-api-key",
    ) -> Connection:
        """Connect the integration `tracker` to a local API."""
        database = self.container.database
        known = {i.unique_key for i in await database.integrations.list(self.environment.id)}
        if "tracker" not in known:
            await database.integrations.create(self.environment.id, "tracker", provider)
        connection, _ = await database.connections.save(
            self.environment.id,
            "tracker",
            connection_id,
            {"type": "API_KEY", "apiKey": api_key},
            metadata=metadata,
            connection_config={"baseUrl": url, "apiBaseUrl": url},
        )
        return connection

    def sync_input(self, connection: Connection, sync: str = "issues") -> SyncInput:
        return SyncInput(
            environment=self.environment.name,
            environment_id=self.environment.id,
            integration=connection.integration,
            connection_id=connection.connection_id,
            connection_key=connection.key,
            sync=sync,
        )

    async def start_sync(
        self, connection: Connection, sync: str = "issues", *, start_delay: timedelta | None = None
    ) -> WorkflowHandle[Any, SyncResult]:
        """Start one run of a sync, beside any schedule."""
        return await self.container.temporal.start_workflow(
            WorkflowType.SYNC,
            self.sync_input(connection, sync),
            id=f"sync/{self.environment.name}/{uuid.uuid4()}",
            task_queue=TaskQueue.SYNCS,
            result_type=SyncResult,
            start_delay=start_delay,
        )

    async def run_sync(self, connection: Connection, sync: str = "issues") -> SyncResult:
        """Run a sync to its end."""
        return await (await self.start_sync(connection, sync)).result()

    async def start_action(
        self,
        connection: Connection,
        value: Any,
        action: str = "echo",
        *,
        task_queue: str = TaskQueue.ACTIONS,
        **call: Any,
    ) -> WorkflowHandle[Any, Any]:
        """Start an action; further fields of its `ActionInput` may be given."""
        active = await self.container.database.bundles.active(self.environment.id)
        assert active is not None
        workflow_id = f"action/{self.environment.name}/{uuid.uuid4()}"
        environment = await self.container.database.environments.by_id(self.environment.id)
        config = await self.container.bundles.config(active.hash)
        integration = config.integration(connection.integration)
        declared = integration.action(action) if integration else None
        assert declared is not None
        context = RunContext(
            run_id="",
            workflow_id=workflow_id,
            started_at=utcnow(),
            environment=self.environment.name,
            environment_id=self.environment.id,
            integration=connection.integration,
            provider=connection.provider,
            connection_id=connection.connection_id,
            connection_key=connection.key,
            kind=WorkflowType.ACTION,
            script=action,
            bundle=active.hash,
            validation=environment.validation,
            input=declared.input,
            output=declared.output[0] if declared.output else None,
            history=HistoryLimits(max_events=self.container.settings.temporal_history_events),
            retry_limit=declared.retry_limit,
            run_timeout=declared.run_timeout,
        )
        return await self.container.temporal.start_workflow(
            WorkflowType.ACTION,
            args=[
                ActionInput(context=context, input=value, **call),
                script_files(active, connection.integration, ScriptKind.ACTION, action),
            ],
            id=workflow_id,
            task_queue=task_queue,
        )

    async def records(
        self, connection: Connection, model: str = "Issue", **conditions: Any
    ) -> list[dict[str, Any]]:
        """Return all records of a model, decoded."""
        page = await self.container.database.records.list(
            RecordSet(connection.key, model), limit=10_000, **conditions
        )
        return [orjson.loads(record) for record in page.records]

    def record_set(self, connection: Connection, model: str = "Issue") -> RecordSet:
        """The records of a model."""
        return RecordSet(connection.key, model)

    async def save(self, target: RecordSet, *records: dict[str, Any], by: Writer = NOBODY) -> None:
        """Write records as somebody else than a run of the sync."""
        await self.container.database.records.save(target, prepare_batch(records), by=by)

    async def go(self, connection: Connection) -> None:
        """Let a script go on that waits until the metadata of its connection say `go`."""
        await self.container.database.connections.merge_metadata(
            self.environment.id, connection.integration, [connection.connection_id], {"go": True}
        )

    async def run(self, handle: WorkflowHandle[Any, Any]) -> Any:
        """Return the run's row."""
        run_id = handle.result_run_id
        assert run_id is not None
        return await self.container.database.runs.get(EnvironmentId(self.environment.id), run_id)


__all__ = ["RecordFilter", "Stack", "namespaced", "settings_for"]
