"""The base of everything that travels through Temporal.

Rules that keep running workflows alive across releases: new fields have defaults, no field is
ever renamed or retyped, and unknown fields are ignored by older workers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from perdure.ids import BASE_VARIANT, shadow_variant
from perdure.nango import LoggerLevel

__all__ = [
    "ActionInput",
    "ActionResult",
    "ConfirmDeletesInput",
    "ConfirmDeletesResult",
    "ConnectionInput",
    "ContinuedRun",
    "DeliveryInput",
    "DeployInput",
    "DeployProgress",
    "DeployResult",
    "EventInput",
    "HistoryLimits",
    "Payload",
    "RunContext",
    "RunProgress",
    "RunState",
    "ScriptFiles",
    "SyncInput",
    "SyncResult",
    "Wait",
    "WebhookDispatchInput",
    "WebhookInput",
    "WebhookResult",
]


class Payload(BaseModel):
    """One argument or result of a workflow or an activity."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def holds_secret(self) -> bool:
        """Say whether this value must be encrypted before it leaves the process."""
        return False


class ScriptFiles(Payload):
    """What a run executes: the files of its bundle that its script can reach.

    Attributes:
        bundle: Hash of the whole bundle.
        path: The script's own file.
        files: Source by path.
    """

    bundle: str
    path: str
    files: dict[str, str]


class SyncInput(Payload):
    """Which sync runs for which connection; the same for every run of a schedule.

    Attributes:
        continued: The run that goes on in a new execution, None where one begins.
        dry_run: The dry run that begins; its `run_id` is empty, the workflow knows it.
    """

    environment: str
    environment_id: int
    integration: str
    connection_id: str
    connection_key: int
    sync: str
    variant: str = BASE_VARIANT
    continued: ContinuedRun | None = None
    dry_run: ContinuedRun | None = None


class HistoryLimits(Payload):
    """How long the Temporal server lets a history get before it ends the run.

    They travel with the run, so that what the run does about them is replayed as it was.
    """

    max_events: int = 51_200
    max_bytes: int = 50 * 1024 * 1024


class RunContext(Payload):
    """What a run knows about itself, fixed when it starts.

    Attributes:
        bundle: Hash of the bundle the run is pinned to.
        started_at: When it started.
        models: Output models of a sync.
        last_sync_date: Start of the sync's last successful run.
        validation: How values that do not fit their model are treated.
        input: Model of an action's input, or of the metadata a sync needs.
        output: Model of an action's output.
        full: Whether a sync run replaces all records.
        track_deletes: Whether records that a full run did not see are deleted.
        retry_limit: Seconds a step goes on trying, None for the default.
        delete_guard: Share of a model's records above which deletes wait for somebody's word,
            None for no such limit.
        log_level: The least grave lines that the script's log keeps.
        blocked_by: Another run of the sync that is under way; this one has nothing to do then.
        empty_cache: Whether a sync run builds its records anew, beside those readers see.
        leftovers: Whether an earlier run left records that were built and never shown.
        notes_seen: Whether the run notes which records it sees, from its start on.
        history: Limits of the run's history; None where nobody watches it.
        credentials_version: The least version of the connection's credentials it works with.
        dry_run: Whether it only shows what it would do to our own data.
        keeps_requests: Whether a dry run keeps its requests and their answers, for a test.
        run_timeout: Seconds an action or a sync may take, None for no limit.
    """

    run_id: str
    workflow_id: str
    started_at: datetime
    environment: str
    environment_id: int
    integration: str
    provider: str
    connection_id: str
    connection_key: int
    kind: str
    script: str
    variant: str = BASE_VARIANT
    bundle: str = ""
    sync_id: str = ""
    models: tuple[str, ...] = ()
    last_sync_date: datetime | None = None
    validation: Literal["enforce", "warn", "off"] = "off"
    input: str | None = None
    output: str | None = None
    full: bool = False
    track_deletes: bool = False
    retry_limit: float | None = None
    delete_guard: float | None = None
    log_level: LoggerLevel = "debug"
    blocked_by: str | None = None
    empty_cache: bool = False
    leftovers: bool = False
    notes_seen: bool = False
    history: HistoryLimits | None = None
    credentials_version: int = 0
    dry_run: bool = False
    keeps_requests: bool = False

    @property
    def requests_kept_for(self) -> str | None:
        """The run that requests are kept for, None where they are not."""
        return self.run_id if self.keeps_requests else None

    run_timeout: float | None = None

    @property
    def record_variant(self) -> str:
        """Variant of the records that the run writes and reads."""
        return shadow_variant(self.variant) if self.empty_cache else self.variant


class Wait(Payload):
    """What a script waits for at present.

    Attributes:
        reason: Why, without secrets.
        until: When it ends.
        attempt: Number of the attempt that is due then, counted from 1.
    """

    reason: str
    until: datetime
    attempt: int = 1


class RunProgress(Payload):
    """How far a run is.

    Attributes:
        pages: Pages that were fetched by `paginate`.
        requests: Requests that were made otherwise.
        records: What it did to records, by model.
        cursor: Where the next page begins, as the API names it, without secrets.
        items: Items of `nango.each` that were begun with, all calls together.
        items_done: Those of them that ended well.
        items_failed: Those of them that failed.
        wait: What it waits for on its own account; a step that is repeated says so itself.
        remarks: What else is to be said of records, by model.
        read: Number of the read past the script that is under way, 0 where none is.
        read_pages: Those of its pages that `pages` counts; its cursor's row knows of more.
    """

    pages: int = 0
    requests: int = 0
    records: dict[str, dict[str, int]] = {}
    cursor: str | None = None
    items: int = 0
    items_done: int = 0
    items_failed: int = 0
    wait: Wait | None = None
    remarks: dict[str, str] = {}
    read: int = 0
    read_pages: int = 0


class RunState(Payload):
    """What a run takes along when its script starts again in a new execution.

    Attributes:
        progress: How far it is.
        each_calls: How often the script called `nango.each`.
        checkpoint: That of an item of `nango.each`, or of a dry run; any other script's lies in the
            database.
        metadata: What a dry run has in place of the connection's, None where it has nothing.
        resumes: Whether it goes on from a checkpoint of an earlier run.
        not_after: By model that has a merging strategy, the place after which what others wrote
            is left alone, None where it is not.
        writes: How many requests it made that must not be made twice.
        pipelines: How many reads it began that save past the script.
    """

    progress: RunProgress = RunProgress()
    each_calls: int = 0
    checkpoint: dict[str, str | int | float | bool] | None = None
    metadata: dict[str, Any] | None = None
    resumes: bool = False
    not_after: dict[str, int | None] = {}
    writes: int = 0
    pipelines: int = 0


class ContinuedRun(Payload):
    """A run that goes on in a new execution.

    Attributes:
        context: The run; it stays the same.
        state: What it takes along.
    """

    context: RunContext
    state: RunState


class SyncResult(Payload):
    """What a sync run came to.

    Attributes:
        counts: By model: `added`, `updated`, `deleted`, `unchanged`.
        skipped: Why nothing was run, None where it was.
    """

    counts: dict[str, dict[str, int]] = {}
    skipped: str | None = None


class ActionInput(Payload):
    """One call of an action; its script's files come as a second argument.

    Attributes:
        context: The run; its `run_id` is empty here, the workflow knows it.
        input: The caller's input.
        sealed: Whether the input carries a secret; all of it is taken for one then.
        keeps_record: Whether the run writes its own record. Otherwise whoever started it does,
            which saves its caller two steps.
        state: What a former execution of the run left.
        queued: Whether it waits for its turn, keeps its own record, and tells of its end.
        ordered: Whether it waits until the connection's earlier ordered actions have ended.
        max_retries: How often the script may be run again from its beginning.
        began_at: When the script was begun, None where it is yet to be.
    """

    context: RunContext
    input: Any = None
    sealed: bool = False
    keeps_record: bool = False
    state: RunState | None = None
    queued: bool = False
    ordered: bool = False
    max_retries: int = 0
    began_at: datetime | None = None

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


class ActionResult(Payload):
    """What an action returned.

    Attributes:
        output: The script's return value.
        sealed: Whether it holds a secret of the connection.
    """

    output: Any = None
    sealed: bool = False

    def holds_secret(self) -> bool:
        """See base class."""
        return self.sealed


class EventInput(Payload):
    """A script that runs because something happens to a connection.

    Attributes:
        context: The run; its `run_id` and `workflow_id` are empty, the workflow knows them.
        event: What happens, as `nango.yaml` names it.
        limit: Seconds that the script may take.
        older: Whether the older key `post-connection-scripts` names the script.
        state: What a former execution of the run left.
    """

    context: RunContext
    event: str
    limit: float
    older: bool = False
    state: RunState | None = None


class ConnectionInput(Payload):
    """A connection that is being created or deleted.

    Attributes:
        operation: What was done to its credentials, None where nobody is to be told.
    """

    environment: str
    environment_id: int
    integration: str
    connection_id: str
    connection_key: int
    operation: Literal["creation", "override"] | None = None


class ConfirmDeletesInput(Payload):
    """Deletions that were held back and are to be carried out.

    Attributes:
        model: Only of this model, None for all of the sync.
    """

    connection_key: int
    connection_id: str
    sync: str
    variant: str = BASE_VARIANT
    model: str | None = None


class ConfirmDeletesResult(Payload):
    """What was deleted.

    Attributes:
        deleted: Number of records by model.
    """

    deleted: dict[str, int] = {}


class WebhookDispatchInput(Payload):
    """A connection whose webhooks are to be handled, in the order in which they came.

    Attributes:
        tasks_per_run: After how many the workflow continues as new, None where Temporal decides.
    """

    environment: str
    integration: str
    connection_id: str
    connection_key: int
    tasks_per_run: int | None = None


class WebhookInput(Payload):
    """A provider's webhook that a script is to handle; what it says stays in the database.

    Attributes:
        task_id: What is to be done.
        together: What is to be done after it in the same execution.
        continued: The run that goes on in a new execution, None where one begins.
    """

    task_id: int
    environment: str
    sync: str
    connection_id: str
    continued: ContinuedRun | None = None
    together: tuple[int, ...] = ()


class WebhookResult(Payload):
    """How far webhooks that were to be handled together have come.

    Attributes:
        count: How many were handled; the one behind them needs an execution of its own.
        runs: Ids of their runs.
        counts: What they did to records, by model.
        asks_for_more: Whether that one's script has asked for what only such an execution has.
    """

    count: int = 0
    runs: list[str] = []
    counts: dict[str, dict[str, int]] = {}
    asks_for_more: bool = False


class DeliveryInput(Payload):
    """A webhook that is to be delivered; what it says stays in the database.

    Attributes:
        delivery_id: Id of its row.
        environment: Name of the environment.
        subject: What it tells, in a few words for people.
        host: Where it goes.
        patience: Seconds after which a receiver that does not take it is given up.
        opening: How often it was sent again on request before.
    """

    delivery_id: str
    environment: str
    subject: str
    host: str
    patience: float
    opening: int = 0


class DeployResult(Payload):
    """What a deploy did.

    Attributes:
        deployment_id: The deployment that made the bundle the active one.
        created_at: When.
        connections: How many connections were gone through.
        created: Schedules that were made.
        updated: Schedules that were there and brought into line.
        deleted: Schedules that were removed, with their syncs.
        erased: Records that were removed.
    """

    deployment_id: int
    created_at: datetime
    connections: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    erased: int = 0


class DeployProgress(Payload):
    """How far a deploy has come, for the run of its workflow that continues it.

    Attributes:
        result: What it did so far.
        connections: How many connections there were at its activation.
        after: The highest key among the connections that were gone through.
    """

    result: DeployResult
    connections: int
    after: int = 0


class DeployInput(Payload):
    """A bundle that is to become an environment's active one.

    Attributes:
        bundle: Hash of the bundle; it is stored.
        previous: The bundle that it takes the place of, None where there is none.
        after: Id of the deployment that it follows, 0 for none; None follows any.
        progress: Where it goes on, None where it begins.
        batches_per_run: After how many batches the workflow continues as new, None where Temporal
            decides.
    """

    environment: str
    environment_id: int
    bundle: str
    previous: str | None = None
    after: int | None = None
    progress: DeployProgress | None = None
    batches_per_run: int | None = None
