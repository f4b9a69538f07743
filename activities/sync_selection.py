"""Which syncs of which connections somebody means, a client or a script, and doing it to each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from activities.bundles import BundleCache
from activities.sync_schedules import sync_input
from config.project import Integration
from config.project import Sync as DeclaredSync
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.db.syncs import Sync
from perdure.errors import ConflictError, FieldError, InvalidInputError
from perdure.ids import BASE_VARIANT, ConnectionKey
from perdure.temporal.payloads import SyncInput

__all__ = [
    "SelectedSync",
    "SyncName",
    "command_each",
    "command_syncs",
    "declared_syncs",
    "select_syncs",
]

_ALL = "*"

# Temporal works schedules off one after another; more at once only fills its queue.
_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class SyncName:
    """A sync as clients name it."""

    name: str
    variant: str = BASE_VARIANT

    @classmethod
    def parse(cls, text: str) -> SyncName:
        """Read `name` or `name::variant`."""
        name, _, variant = text.partition("::")
        return cls(name, variant or BASE_VARIANT)

    def __str__(self) -> str:
        return self.name if self.variant == BASE_VARIANT else f"{self.name}::{self.variant}"


@dataclass(frozen=True, slots=True)
class SelectedSync:
    """A sync of a connection, and what the deployed `nango.yaml` says about it."""

    sync: Sync
    declared: DeclaredSync


async def select_syncs(
    database: Database,
    bundles: BundleCache,
    environment: Environment,
    *,
    integration: str,
    connection_id: str | None,
    names: Sequence[SyncName],
) -> list[SelectedSync]:
    """Return the syncs that are meant, by connection and name; none where no connection has any.

    Args:
        database: Where to look.
        bundles: Where to look what is deployed.
        environment: Of whom asks.
        integration: Key of an integration.
        connection_id: Only those of this connection.
        names: Only those of these names. Empty, or with `*` among them: all.

    Raises:
        NotFoundError: `unknown_provider_config` or `unknown_connection`.
        InvalidInputError: `unknown_sync`, with each name that is not known.
    """
    await database.integrations.get(environment.id, integration)
    key = await _connection_key(database, environment, integration, connection_id)
    declared = await declared_syncs(bundles, environment, integration)
    wanted = set() if any(name.name == _ALL for name in names) else set(names)
    _refuse_unknown({name for name in wanted if name.name not in declared}, integration, declared)
    rows = await database.syncs.list(
        environment.id,
        integration=integration,
        connection_key=key,
        names=sorted(declared),
    )
    if not wanted or not rows:
        return [SelectedSync(row, declared[row.name]) for row in rows]
    _refuse_unknown(wanted - {_name(row) for row in rows}, integration, declared)
    return [SelectedSync(row, declared[row.name]) for row in rows if _name(row) in wanted]


async def command_syncs(
    database: Database,
    bundles: BundleCache,
    environment: Environment,
    *,
    integration: str,
    connection_id: str | None,
    names: Sequence[SyncName],
) -> list[SelectedSync]:
    """As `select_syncs`, for commands, which must not meet nothing.

    Raises:
        NotFoundError: As `select_syncs`.
        InvalidInputError: As `select_syncs`, and `no_syncs_found`.
    """
    selected = await select_syncs(
        database,
        bundles,
        environment,
        integration=integration,
        connection_id=connection_id,
        names=names,
    )
    if not selected:
        msg = f"No connection of {integration!r} has a sync; deploy one, and make a connection."
        raise InvalidInputError(msg, code="no_syncs_found")
    return selected


async def command_each(
    selected: Sequence[SelectedSync],
    environment: Environment,
    do: Callable[[SyncInput], Awaitable[bool]],
) -> None:
    """Do something to the schedule of each sync, a few at a time.

    Args:
        selected: The syncs.
        environment: Theirs.
        do: Returns whether the schedule exists.

    Raises:
        ConflictError: `sync_not_scheduled`, some have no schedule; it is done to the others.
    """
    limit = asyncio.Semaphore(_CONCURRENCY)

    async def one(item: SelectedSync) -> bool:
        async with limit:
            return await do(sync_input(environment.name, item.sync))

    done = await asyncio.gather(*(one(item) for item in selected))
    missing = [item.sync for item, found in zip(selected, done, strict=True) if not found]
    if missing:
        names = ", ".join(f"{sync.name!r} of {sync.connection_id!r}" for sync in missing[:10])
        msg = f"{len(missing)} syncs have no schedule: {names}. Deploy the project to make them."
        raise ConflictError(msg, code="sync_not_scheduled")


async def _connection_key(
    database: Database, environment: Environment, integration: str, connection_id: str | None
) -> ConnectionKey | None:
    if connection_id is None:
        return None
    return (await database.connections.get(environment.id, integration, connection_id)).key


async def declared_syncs(
    bundles: BundleCache, environment: Environment, integration: str
) -> dict[str, DeclaredSync]:
    """Return the syncs that are deployed for an integration, by name."""
    if environment.active_bundle is None:
        return {}
    config = await bundles.config(environment.active_bundle)
    found: Integration | None = config.integration(integration)
    return {sync.name: sync for sync in found.syncs} if found else {}


def _refuse_unknown(
    unknown: set[SyncName], integration: str, declared: dict[str, DeclaredSync]
) -> None:
    if not unknown:
        return
    names = ", ".join(sorted(declared)) or "none"
    raise InvalidInputError(
        f"The integration {integration!r} has no such sync; deployed are: {names}.",
        code="unknown_sync",
        errors=[
            FieldError("unknown_sync", f"There is no sync {name!r}.", ("syncs",))
            for name in sorted(str(name) for name in unknown)
        ],
    )


def _name(row: Sync) -> SyncName:
    return SyncName(row.name, row.variant)
