"""Steps at the edges of a connection's life: its creation, new credentials, its deletion."""

from __future__ import annotations

from typing import Literal

from temporalio import activity
from temporalio.client import Client

from activities.connection_starts import start_awaited
from activities.endings import end_workflow
from activities.hooks import Hooks
from activities.webhook_outbox import WebhookOutbox
from perdure.db.connections import Connection
from perdure.db.database import Database
from perdure.errors import NotFoundError
from perdure.ids import ConnectionKey, connection_workflow_id
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.temporal.names import WorkflowType
from perdure.temporal.payloads import ConnectionInput, EventInput, Payload

__all__ = [
    "AwaitedSetups",
    "ConnectionSetupActivities",
    "Deletion",
    "FinishSetup",
    "FinishedSetup",
    "Refusal",
    "Setup",
    "SetupVersion",
]

_DELETED = "its connection is being deleted"


class Setup(Payload):
    """What is to be done for a connection that was given credentials.

    Attributes:
        state: Whether anything is: the connection may be gone, or on its way out.
        version: Version of the credentials.
        is_new: Whether the connection never was set up.
        operation: What is to be told of it, None for nothing.
        validations: Scripts that say whether the credentials are good.
        creations: Scripts that run because the connection is new.
    """

    state: Literal["ready", "deleting", "gone"] = "ready"
    version: int = 0
    is_new: bool = False
    operation: Literal["creation", "override"] | None = None
    validations: list[EventInput] = []
    creations: list[EventInput] = []


class SetupVersion(Payload):
    """Credentials of a connection."""

    connection_key: int
    version: int


class Refusal(SetupVersion):
    """Credentials that were refused, and by which run.

    Attributes:
        run_id: The run that did.
        environment: Name of the environment.
        operation: What is to be told of it, None for nothing.
        message: Why, in the words of the script.
    """

    run_id: str
    environment: str = ""
    operation: Literal["creation", "override"] | None = None
    message: str = ""


class FinishSetup(SetupVersion):
    """A connection that is set up.

    Attributes:
        environment: Name of its environment.
        operation: What is to be told of it, None for nothing.
    """

    environment: str
    operation: Literal["creation", "override"] | None = None


class FinishedSetup(Payload):
    """What follows from a setup.

    Attributes:
        deliveries: Ids of the webhooks that tell of it and are to be started.
        is_overtaken: Whether newer credentials came in meanwhile.
    """

    deliveries: list[str] = []
    is_overtaken: bool = False


class AwaitedSetups(Payload):
    """Connections that should have been set up by now.

    Attributes:
        batch: How many are read at once.
    """

    batch: int = 100


class Deletion(Payload):
    """What is to be done before a connection is deleted: scripts, in order."""

    hooks: list[EventInput] = []


class ConnectionSetupActivities:
    """Steps of `connection-create` and `connection-delete`. All of them may be repeated.

    Args:
        database: Our own data.
        hooks: Finds scripts.
        catalog: Providers.
        client: Ends the setup of a connection that is being deleted.
    """

    def __init__(
        self, database: Database, hooks: Hooks, catalog: ProviderCatalog, client: Client
    ) -> None:
        self._database = database
        self._hooks = hooks
        self._catalog = catalog
        self._client = client
        self._outbox = WebhookOutbox(database)

    @activity.defn
    async def begin_setup(self, target: ConnectionInput) -> Setup:
        """Find what is to be done, pinned to the bundle that is active now."""
        key = ConnectionKey(target.connection_key)
        state = await self._database.lifecycle.state(key)
        if state is None:
            return Setup(state="gone")
        if state.is_being_deleted:
            return Setup(state="deleting")
        if not state.is_due:
            # Somebody else has set it up meanwhile, and told of it.
            return Setup(version=state.version)
        try:
            connection = await self._database.connections.by_key(key)
        except NotFoundError:
            return Setup(state="gone")
        environment = await self._database.environments.by_id(connection.environment_id)
        validations = await self._hooks.of(environment, connection, "validate-connection")
        creations: list[EventInput] = []
        if state.is_new:
            creations = await self._hooks.once(environment, connection, "post-connection-creation")
        if not validations:
            await self._database.lifecycle.note_validated(key, state.version)
        return Setup(
            version=state.version,
            is_new=state.is_new,
            operation=("creation" if state.is_new else "override") if target.operation else None,
            validations=validations,
            creations=creations,
        )

    @activity.defn
    async def note_validated(self, setup: SetupVersion) -> None:
        """Note that nothing is to be said against the credentials."""
        await self._database.lifecycle.note_validated(
            ConnectionKey(setup.connection_key), setup.version
        )

    @activity.defn
    async def refuse_credentials(self, refusal: Refusal) -> FinishedSetup:
        """Delete a connection that is new again, or mark one whose new credentials are no good.

        What is to be told of it is written along.
        """
        key = ConnectionKey(refusal.connection_key)
        # Before it is gone; where it is already, an earlier attempt has done all of this.
        connection = await self._told_of(key, refusal)
        async with self._database.transaction() as conn:
            is_refused = await self._database.lifecycle.refuse(
                key, refusal.version, refusal.run_id, conn=conn
            )
            ids = await self._outbox.written_before(conn=conn)
            if is_refused and connection is not None and refusal.operation is not None:
                ids = await self._outbox.credentials_changed(
                    connection,
                    refusal.environment,
                    self._catalog.get(connection.provider).auth_mode,
                    refusal.operation,
                    error={"type": "connection_validation_failed", "message": refusal.message},
                    conn=conn,
                )
        state = await self._database.lifecycle.state(key)
        return FinishedSetup(
            deliveries=[str(one) for one in ids],
            is_overtaken=state is not None and state.is_due,
        )

    @activity.defn
    async def finish_setup(self, setup: FinishSetup) -> FinishedSetup:
        """Note that a connection is set up, and write what is to be told of it."""
        key = ConnectionKey(setup.connection_key)
        connection = await self._told_of(key, setup)
        async with self._database.transaction() as conn:
            is_overtaken = await self._database.lifecycle.note_set_up(key, setup.version, conn=conn)
            ids = []
            if connection is not None and setup.operation is not None:
                ids = await self._outbox.credentials_changed(
                    connection,
                    setup.environment,
                    self._catalog.get(connection.provider).auth_mode,
                    setup.operation,
                    conn=conn,
                )
        return FinishedSetup(deliveries=[str(one) for one in ids], is_overtaken=is_overtaken)

    @activity.defn
    async def begin_deletion(self, target: ConnectionInput) -> Deletion:
        """Let nothing new begin for a connection, end its setup, and find the scripts to run."""
        key = ConnectionKey(target.connection_key)
        if not await self._database.lifecycle.begin_deletion(key):
            return Deletion()
        workflow_id = connection_workflow_id(
            WorkflowType.CONNECTION_CREATE,
            target.environment,
            target.integration,
            target.connection_id,
        )
        await end_workflow(self._client, workflow_id, _DELETED)
        try:
            connection = await self._database.connections.by_key(key)
        except NotFoundError:
            return Deletion()
        environment = await self._database.environments.by_id(connection.environment_id)
        hooks = await self._hooks.once(environment, connection, "pre-connection-deletion")
        return Deletion(hooks=hooks)

    @activity.defn
    async def start_awaited_setups(self, awaited: AwaitedSetups) -> int:
        """Start the setups that were left by an API which died; returns how many."""
        return await start_awaited(self._database, self._client, batch=awaited.batch)

    async def _told_of(self, key: ConnectionKey, setup: FinishSetup | Refusal) -> Connection | None:
        if setup.operation is None:
            return None
        try:
            connection = await self._database.connections.by_key(key)
            self._catalog.get(connection.provider)
        except NotFoundError:
            return None
        return connection
