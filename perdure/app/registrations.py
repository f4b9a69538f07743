"""What workers run: every workflow, and every activity, bound to what it needs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio.worker import Replayer

from activities.action_queue import ActionQueueActivities
from activities.actions import ActionActivities
from activities.bundles import BundleActivities
from activities.checkpoints import CheckpointActivities
from activities.connection_setups import ConnectionSetupActivities
from activities.connections import ConnectionActivities
from activities.credential_refreshes import CredentialActivities
from activities.delete_tracks import DeleteTrackActivities
from activities.deployments import DeploymentActivities
from activities.dry_runs import DryRunActivities
from activities.each import EachActivities
from activities.erasure import Erasure
from activities.exchanges import ExchangeLog
from activities.fetch import FetchActivities
from activities.hooks import Hooks
from activities.http import HttpActivities
from activities.integrations import IntegrationActivities
from activities.key_rotation import KeyRotationActivities
from activities.locks import LockActivities
from activities.maintenance import MaintenanceActivities, Retention
from activities.maintenance_schedule import swept_since
from activities.overdue_runs import OverdueRuns
from activities.page_slices import PageSliceActivities
from activities.payload_sweep import PayloadSweep
from activities.reconciliation import Reconciler
from activities.record_reads import RecordReadActivities
from activities.records import RecordActivities
from activities.resyncs import ResyncActivities
from activities.retries import RetryActivities
from activities.run_settling import RunSettling
from activities.runs import RunActivities
from activities.save_pages import SavePagesActivities
from activities.schedule_repair import ScheduleRepair
from activities.schedules import ScheduleActivities
from activities.step_modules import StepModules
from activities.steps import StepActivities
from activities.sync_commands import SyncCommandActivities
from activities.sync_runs import SyncRuns
from activities.variants import VariantActivities
from activities.webhook_batches import WebhookBatchActivities
from activities.webhook_starts import DeliveryStarter
from activities.webhook_tasks import WebhookTaskActivities
from activities.webhooks import WebhookActivities
from config.settings import Settings
from perdure.app.container import Container
from perdure.proxy.client import ProxyClient
from perdure.proxy.plain import PlainClient
from perdure.proxy.transport import HttpTransport
from perdure.temporal.payloads import HistoryLimits
from perdure.temporal.plugin import PerdurePlugin
from workflows.confirm_deletes import ConfirmDeletes
from workflows.connections import CreateConnection, DeleteConnection
from workflows.delete_variant import DeleteVariant
from workflows.deploy import Deploy
from workflows.dispatch_webhooks import DispatchWebhooks
from workflows.maintenance import Maintain
from workflows.retry_run import RetryRun
from workflows.rotate_keys import RotateKeys
from workflows.run_action import RunAction
from workflows.run_each import RunEach, RunEachBatch
from workflows.run_event import RunEvent
from workflows.run_sync import RunSync
from workflows.run_webhook import RunWebhook
from workflows.webhooks import DeliverWebhook

__all__ = [
    "ACTION_WORKFLOWS",
    "ALL_WORKFLOWS",
    "ITEM_WORKFLOWS",
    "SYNC_WORKFLOWS",
    "activities_of",
    "replayer_of",
    "starter_of",
]

# Items of `nango.each` run where their script runs.
ITEM_WORKFLOWS: tuple[type, ...] = (RunEach, RunEachBatch)
SYNC_WORKFLOWS: tuple[type, ...] = (RunSync,)
ACTION_WORKFLOWS: tuple[type, ...] = (
    RunAction,
    RunEvent,
    CreateConnection,
    DeleteConnection,
    Deploy,
    DeleteVariant,
    RetryRun,
    Maintain,
    DispatchWebhooks,
    RunWebhook,
    DeliverWebhook,
    ConfirmDeletes,
    RotateKeys,
)
ALL_WORKFLOWS: tuple[type, ...] = (*SYNC_WORKFLOWS, *ACTION_WORKFLOWS, *ITEM_WORKFLOWS)


def replayer_of(container: Container) -> Replayer:
    """Return a replayer of the engine's workflows, with the converter that runs have."""
    converter = container.temporal.data_converter
    return Replayer(
        workflows=ALL_WORKFLOWS,
        plugins=[PerdurePlugin(converter)],
        build_id=container.settings.worker_build,
    )


def starter_of(container: Container) -> DeliveryStarter:
    """Return what starts deliveries to the application."""
    return DeliveryStarter(container.temporal, container.settings.webhook_patience)


def activities_of(container: Container, transport: HttpTransport) -> list[Callable[..., Any]]:
    """Return every activity, bound to what it needs."""
    database, bundles = container.database, container.bundles
    keeper = container.keeper
    exchanges = ExchangeLog(database.dry_runs)
    http = HttpActivities(container.connections, ProxyClient(transport), exchanges)
    dry_runs = DryRunActivities(database, container.catalog)
    records = RecordActivities(database)
    tracks = DeleteTrackActivities(database)
    erasure = Erasure(database, bundles)
    sync_runs = SyncRuns(database, container.temporal, container.schedules)
    reconciler = Reconciler(database, bundles, container.schedules, erasure, sync_runs)
    variants = VariantActivities(database, bundles, sync_runs)
    history = HistoryLimits(max_events=container.settings.temporal_history_events)
    runs = RunActivities(database, bundles, erasure, container.temporal, history)
    resyncs = ResyncActivities(database)
    each = EachActivities(container.temporal)
    connections = ConnectionActivities(database.connections, database.record_sets, keeper)
    checkpoints = CheckpointActivities(database)
    locks = LockActivities(database)
    commands = SyncCommandActivities(database, bundles, container.schedules, sync_runs)
    files = BundleActivities(bundles)
    modules = StepModules(bundles)
    steps = StepActivities(modules)
    pages = SavePagesActivities(database, http, records, modules)
    integrations = IntegrationActivities(database, container.settings.server_url)
    schedules = ScheduleActivities(database, container.schedules, reconciler, sync_runs)
    hooks = Hooks(database, bundles, history, container.settings.hook_limit_seconds)
    setups = ConnectionSetupActivities(database, hooks, container.catalog, container.temporal)
    deployments = DeploymentActivities(database, bundles, reconciler, container.temporal)
    maintenance = MaintenanceActivities(
        database,
        bundles,
        _retention(container.settings),
        RunSettling(
            database,
            bundles,
            container.temporal,
            OverdueRuns(
                database, bundles, container.temporal, partial(swept_since, container.temporal)
            ),
        ),
    )
    payloads = PayloadSweep(
        database.blobs,
        database.payload_rounds,
        database.runs,
        container.temporal,
        timedelta(days=container.settings.payloads_days),
    )
    queue = ActionQueueActivities(database, container.temporal)
    retries = RetryActivities(
        database, bundles, container.temporal, partial(replayer_of, container)
    )
    webhooks = WebhookActivities(database, container.catalog, transport, starter_of(container))
    incoming = WebhookTaskActivities(database, bundles, erasure, container.temporal, history)
    rotation = KeyRotationActivities(database.key_rotations, container.temporal)
    together = WebhookBatchActivities(database, records, incoming)
    return [
        http.proxy,
        http.may_be_repeated,
        http.fetch_page,
        PageSliceActivities(http).fetch_pages,
        records.batch_save,
        records.batch_update,
        records.batch_delete,
        tracks.start_delete_track,
        tracks.weigh_deletes,
        tracks.delete_absent,
        tracks.drop_delete_tracks,
        tracks.held_deletes,
        tracks.last_place,
        dry_runs.begin_dry_run,
        dry_runs.preview_absent,
        dry_runs.finish_dry_run,
        checkpoints.get_checkpoint,
        checkpoints.save_checkpoint,
        runs.start_sync,
        runs.cancel_start,
        runs.finish_sync,
        runs.start_run,
        runs.finish_run,
        runs.retried_at,
        runs.write_log,
        ActionActivities(database, bundles, history).prepare_action,
        queue.take_turn,
        queue.end_action,
        commands.trigger_sync,
        commands.start_sync_schedule,
        resyncs.drop_leftovers,
        resyncs.swap_records,
        setups.begin_setup,
        setups.note_validated,
        setups.refuse_credentials,
        setups.finish_setup,
        setups.begin_deletion,
        setups.start_awaited_setups,
        connections.get_connection,
        connections.get_token,
        connections.get_metadata,
        connections.set_metadata,
        connections.update_metadata,
        connections.delete_connection,
        FetchActivities(PlainClient(transport), exchanges).uncontrolled_fetch,
        locks.try_acquire_lock,
        locks.release_lock,
        locks.release_all_locks,
        integrations.get_integration,
        integrations.get_environment_variables,
        schedules.forget_schedule,
        ScheduleRepair(database, container.temporal, reconciler).restore_schedules,
        variants.delete_variant,
        schedules.ensure_connection_schedules,
        schedules.delete_connection_schedules,
        deployments.check_schedules,
        deployments.activate_bundle,
        deployments.reconcile_connections,
        retries.retry_run,
        maintenance.settle_runs,
        maintenance.prune_old_records,
        maintenance.drop_idle_records,
        maintenance.drop_old_webhooks,
        maintenance.drop_old_keys,
        maintenance.drop_old_runs,
        maintenance.drop_old_audit,
        maintenance.drop_old_deliveries,
        payloads.drop_unused_payloads,
        CredentialActivities(database, keeper).refresh_idle_credentials,
        RecordReadActivities(database).read_records,
        webhooks.tell_of_connection,
        webhooks.start_deliveries,
        webhooks.start_forgotten_deliveries,
        webhooks.post_webhook,
        webhooks.give_up_webhook,
        together.start_webhooks,
        together.commit_webhooks,
        incoming.due_webhooks,
        incoming.start_webhook,
        incoming.finish_webhook,
        incoming.lose_webhook,
        incoming.lost_webhook,
        each.item_result,
        each.items_result,
        rotation.begin_key_rotation,
        rotation.rotate_column,
        rotation.rotate_schedules,
        rotation.finish_key_rotation,
        files.load_script,
        files.load_file,
        steps.run,
        pages.save_pages,
    ]


def _retention(settings: Settings) -> Retention:
    prune, drop = settings.records_prune_after_days, settings.records_drop_after_days
    return Retention(
        payloads=timedelta(days=prune) if prune else None,
        idle_records=timedelta(days=drop) if drop else None,
        webhooks=timedelta(days=settings.webhook_events_days),
        keys=timedelta(days=settings.action_keys_days),
        runs=timedelta(days=settings.runs_days),
        audit=timedelta(days=settings.audit_days),
        deliveries=timedelta(days=settings.webhook_deliveries_days),
    )
