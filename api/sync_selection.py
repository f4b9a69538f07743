"""Which syncs of which connections a request means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.dependencies import Dependencies
from api.errors import ApiError
from config.project import Integration
from config.project import Sync as DeclaredSync
from perdure.db.environments import Environment
from perdure.db.syncs import Sync
from perdure.errors import FieldError, InvalidInputError, NotFoundError
from perdure.ids import BASE_VARIANT, ConnectionKey

__all__ = ["SelectedSync", "SyncName", "select_syncs"]

_ALL = "*"


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
    deps: Dependencies,
    environment: Environment,
    *,
    integration: str,
    connection_id: str | None,
    names: Sequence[SyncName],
) -> list[SelectedSync]:
    """Return the syncs that are meant, by connection and name; none where no connection has any.

    Args:
        deps: Where to look.
        environment: The caller's.
        integration: Key of an integration.
        connection_id: Only those of this connection.
        names: Only those of these names. Empty, or with `*` among them: all.

    Raises:
        NotFoundError: `unknown_provider_config`.
        ApiError: 404 `unknown_connection`.
        InvalidInputError: `unknown_sync`, with each name that is not known.
    """
    await deps.database.integrations.get(environment.id, integration)
    key = await _connection_key(deps, environment, integration, connection_id)
    declared = await _declared(deps, environment, integration)
    wanted = set() if any(name.name == _ALL for name in names) else set(names)
    _refuse_unknown({name for name in wanted if name.name not in declared}, integration, declared)
    rows = await deps.database.syncs.list(
        environment.id,
        integration=integration,
        connection_key=key,
        names=sorted(declared),
    )
    if not wanted or not rows:
        return [SelectedSync(row, declared[row.name]) for row in rows]
    _refuse_unknown(wanted - {_name(row) for row in rows}, integration, declared)
    return [SelectedSync(row, declared[row.name]) for row in rows if _name(row) in wanted]


async def _connection_key(
    deps: Dependencies, environment: Environment, integration: str, connection_id: str | None
) -> ConnectionKey | None:
    if connection_id is None:
        return None
    try:
        connection = await deps.database.connections.get(environment.id, integration, connection_id)
    except NotFoundError as error:
        raise ApiError(404, error.code, error.message) from error
    return connection.key


async def _declared(
    deps: Dependencies, environment: Environment, integration: str
) -> dict[str, DeclaredSync]:
    if environment.active_bundle is None:
        return {}
    config = await deps.bundles.config(environment.active_bundle)
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
