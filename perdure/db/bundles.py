"""Bundles, which never change, and the history of their deployments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from perdure.db.pool import Pool, borrowed
from perdure.errors import ConflictError, NotFoundError
from perdure.ids import BundleHash, ConnectionKey, EnvironmentId
from perdure.records.canonical import JsonObject, to_json

__all__ = ["BundleStore", "Deployment", "StoredBundle"]

_PUT = """
INSERT INTO bundles (hash, files, config) VALUES ($1, $2, $3)
ON CONFLICT (hash) DO NOTHING
"""

_GET = "SELECT hash, files, config, created_at FROM bundles WHERE hash = $1"

_LOCK = "SELECT active_bundle FROM environments WHERE id = $1 FOR UPDATE"

_LATEST = """
SELECT id, environment_id, bundle_hash, created_at, reconciled_to, reconciled_at
  FROM deployments
 WHERE environment_id = $1
 ORDER BY id DESC
 LIMIT 1
"""

_ACTIVATE = "UPDATE environments SET active_bundle = $2 WHERE id = $1"

_DEPLOY = """
INSERT INTO deployments (environment_id, bundle_hash) VALUES ($1, $2)
RETURNING id, environment_id, bundle_hash, created_at, reconciled_to, reconciled_at
"""

_DEPLOYMENT = """
SELECT id, environment_id, bundle_hash, created_at, reconciled_to, reconciled_at
  FROM deployments
 WHERE environment_id = $1 AND id = $2
"""

_BEFORE = """
SELECT id, environment_id, bundle_hash, created_at, reconciled_to, reconciled_at
  FROM deployments
 WHERE environment_id = $1 AND id < $2
 ORDER BY id DESC
 LIMIT 1
"""

_WAS_DEPLOYED = """
SELECT EXISTS (SELECT FROM deployments WHERE environment_id = $1 AND bundle_hash = $2)
"""

_DEPLOYMENTS = """
SELECT id, environment_id, bundle_hash, created_at, reconciled_to, reconciled_at
  FROM deployments
 WHERE environment_id = $1
 ORDER BY id DESC
 LIMIT $2
"""

_NOTE_RECONCILED = """
UPDATE deployments
   SET reconciled_to = greatest(reconciled_to, $3),
       reconciled_at = CASE WHEN $4 THEN coalesce(reconciled_at, now()) ELSE reconciled_at END
 WHERE id = (SELECT max(id) FROM deployments WHERE environment_id = $1)
   AND bundle_hash = $2
"""

_PROGRESS = """
SELECT count(*) FILTER (WHERE $3 OR id <= $2), count(*) FROM connections WHERE environment_id = $1
"""

_FOLLOWED = """
SELECT DISTINCT bundle_hash
  FROM deployments
 WHERE environment_id = $1
   AND id >= (SELECT coalesce(max(id), 0) FROM deployments
               WHERE environment_id = $1 AND reconciled_at IS NOT NULL)
"""

_ACTIVE = """
SELECT b.hash, b.files, b.config, b.created_at
  FROM environments e JOIN bundles b ON b.hash = e.active_bundle
 WHERE e.id = $1
"""


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A bundle as it was deployed.

    Attributes:
        hash: Content hash.
        files: Source by path below the project folder.
        config: The parsed `nango.yaml`.
        created_at: When it was first stored.
    """

    hash: BundleHash
    files: dict[str, str]
    config: JsonObject
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Deployment:
    """The moment at which a bundle became the active one of an environment.

    Attributes:
        id: Row id; the highest of an environment is the one in force.
        environment_id: Where.
        bundle_hash: Which bundle.
        created_at: When.
        reconciled_to: Key of the highest connection that was brought into line with it.
        reconciled_at: When all connections were, None before that.
    """

    id: int
    environment_id: EnvironmentId
    bundle_hash: BundleHash
    created_at: datetime
    reconciled_to: int
    reconciled_at: datetime | None


class BundleStore:
    """Stores bundles and records what is deployed where."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(
        self, bundle_hash: BundleHash, files: Mapping[str, str], config: Mapping[str, Any]
    ) -> None:
        """Store a bundle; one with this hash that is there already is left alone."""
        async with borrowed(self._pool) as conn:
            await conn.execute(_PUT, bundle_hash, to_json(dict(files)), to_json(dict(config)))

    async def get(self, bundle_hash: BundleHash) -> StoredBundle:
        """Return a bundle.

        Raises:
            NotFoundError: `unknown_bundle`.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_GET, bundle_hash)
        if row is None:
            raise _unknown(bundle_hash)
        return _bundle(row)

    async def deploy(
        self, environment_id: EnvironmentId, bundle_hash: BundleHash, *, after: int | None = None
    ) -> Deployment:
        """Make a stored bundle the active one of an environment.

        A bundle that is the active one already stays so, and nothing is added to the history:
        saying it again changes nothing.

        Args:
            environment_id: Where.
            bundle_hash: Which bundle.
            after: Only while this is the latest deployment; 0 stands for none yet, None for any.

        Returns:
            The deployment that made the bundle the active one.

        Raises:
            NotFoundError: `unknown_bundle` or `unknown_environment`.
            ConflictError: `concurrent_deployment`, something else was deployed meanwhile.
        """
        try:
            async with borrowed(self._pool) as conn, conn.transaction():
                environment = await conn.fetchrow(_LOCK, environment_id)
                if environment is None:
                    msg = f"There is no environment {environment_id}."
                    raise NotFoundError(msg, code="unknown_environment")
                latest = await conn.fetchrow(_LATEST, environment_id)
                if latest is not None and environment["active_bundle"] == bundle_hash:
                    return Deployment(*latest.values())
                if after is not None and after != (latest["id"] if latest else 0):
                    raise _overtaken()
                await conn.execute(_ACTIVATE, environment_id, bundle_hash)
                row = await conn.fetchrow(_DEPLOY, environment_id, bundle_hash)
        except asyncpg.ForeignKeyViolationError as error:
            raise _unknown(bundle_hash) from error
        if row is None:
            raise _unknown(bundle_hash)
        return Deployment(*row.values())

    async def note_reconciled(
        self,
        environment_id: EnvironmentId,
        bundle_hash: BundleHash,
        to: ConnectionKey,
        *,
        is_last: bool,
    ) -> None:
        """Note how far connections are in line; nothing, where another bundle is deployed now.

        Args:
            environment_id: Where.
            bundle_hash: With which bundle.
            to: Up to which connection.
            is_last: Whether no connection follows.
        """
        async with borrowed(self._pool) as conn:
            await conn.execute(_NOTE_RECONCILED, environment_id, bundle_hash, to, is_last)

    async def progress(self, deployment: Deployment) -> tuple[int, int]:
        """Return how many connections are in line with a deployment, and how many there are."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(
                _PROGRESS,
                deployment.environment_id,
                deployment.reconciled_to,
                deployment.reconciled_at is not None,
            )
        return (row[0], row[1]) if row else (0, 0)

    async def followed(self, environment_id: EnvironmentId) -> Sequence[BundleHash]:
        """Return the bundles that what a connection has may come from.

        That is the bundle with which all connections were in line at last, and those that were
        deployed since: a deploy that was ended early leaves connections behind.
        """
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_FOLLOWED, environment_id)
        return [row["bundle_hash"] for row in rows]

    async def latest(self, environment_id: EnvironmentId) -> Deployment | None:
        """Return the deployment that is in force, None before the first."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_LATEST, environment_id)
        return None if row is None else Deployment(*row.values())

    async def deployment(self, environment_id: EnvironmentId, deployment_id: int) -> Deployment:
        """Return a deployment of an environment.

        Raises:
            NotFoundError: `unknown_deployment`.
        """
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_DEPLOYMENT, environment_id, deployment_id)
        if row is None:
            msg = f"There is no deployment {deployment_id} in this environment."
            raise NotFoundError(msg, code="unknown_deployment")
        return Deployment(*row.values())

    async def before(self, environment_id: EnvironmentId, deployment_id: int) -> Deployment | None:
        """Return the deployment before one, None before the first."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_BEFORE, environment_id, deployment_id)
        return None if row is None else Deployment(*row.values())

    async def deployed(self, environment_id: EnvironmentId, bundle_hash: str) -> StoredBundle:
        """Return a bundle that was deployed to an environment at any time.

        Raises:
            NotFoundError: `unknown_bundle`; also where only another environment knows it.
        """
        async with borrowed(self._pool) as conn:
            was_deployed = await conn.fetchval(_WAS_DEPLOYED, environment_id, bundle_hash)
        if not was_deployed:
            raise _unknown(BundleHash(bundle_hash))
        return await self.get(BundleHash(bundle_hash))

    async def active(self, environment_id: EnvironmentId) -> StoredBundle | None:
        """Return the bundle that new runs of an environment start with, None before any deploy."""
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_ACTIVE, environment_id)
        return None if row is None else _bundle(row)

    async def deployments(
        self, environment_id: EnvironmentId, *, limit: int = 50
    ) -> Sequence[Deployment]:
        """Return the deployments of an environment, newest first."""
        async with borrowed(self._pool) as conn:
            rows = await conn.fetch(_DEPLOYMENTS, environment_id, limit)
        return [Deployment(*row.values()) for row in rows]


def _bundle(row: asyncpg.Record) -> StoredBundle:
    return StoredBundle(
        hash=row["hash"],
        files=json.loads(row["files"]),
        config=json.loads(row["config"]),
        created_at=row["created_at"],
    )


def _unknown(bundle_hash: BundleHash) -> NotFoundError:
    msg = f"There is no bundle {bundle_hash!r}; deploy the project to make it."
    return NotFoundError(msg, code="unknown_bundle")


def _overtaken() -> ConflictError:
    msg = "Something else was deployed in the meantime; look at the plan again."
    return ConflictError(msg, code="concurrent_deployment")
