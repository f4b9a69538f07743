"""Who calls: what a key opens and may do, found once a second for each key.

A key that is revoked, or whose environment is deleted, opens nothing any more: at once in the
process that did it, and within a second in all others.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

from api.errors import ApiError
from api.scopes import EVERYTHING, SCOPES, expand
from perdure.db.api_keys import ApiKeyStore, OpenedEnvironment
from perdure.db.environments import Environment, key_hash
from perdure.ids import EnvironmentId

__all__ = ["Access", "Gate"]

_REMEMBERED_SECONDS = 1.0
_REMEMBERED_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Access:
    """What a key opens.

    Attributes:
        environment_id: Row id of the environment.
        environment: Its name.
        key_id: The API key; None for the secret key of the environment.
        key_name: What people call the key.
        granted: Scopes as the key has them, asterisks included.
        scopes: The scopes that those stand for.
        bucket: Whose requests are counted together.
    """

    environment_id: EnvironmentId
    environment: str
    key_id: UUID | None
    key_name: str
    granted: tuple[str, ...]
    scopes: frozenset[str]
    bucket: bytes

    @property
    def may_everything(self) -> bool:
        """Whether nothing is closed to the key."""
        return EVERYTHING in self.granted

    def allows(self, *scopes: str) -> bool:
        """Say whether the key has one of these scopes."""
        return self.may_everything or not self.scopes.isdisjoint(scopes)

    def require(self, *scopes: str) -> None:
        """Let nobody pass without one of these scopes; none named stand for everything.

        Raises:
            ApiError: 403 `forbidden`.
        """
        if not self.allows(*scopes):
            needed = " or ".join(scopes) or EVERYTHING
            msg = f"The API key {self.key_name!r} lacks the scope {needed}."
            raise ApiError(403, "forbidden", msg)

    def covers(self, scopes: frozenset[str]) -> bool:
        """Say whether the key may do all of this, and so may hand it on."""
        return self.may_everything or scopes <= self.scopes


class Gate:
    """Finds what keys open.

    Args:
        keys: Where they are kept.
    """

    def __init__(self, keys: ApiKeyStore) -> None:
        self._keys = keys
        self._known: OrderedDict[bytes, tuple[float, Access]] = OrderedDict()

    async def open(self, key: str) -> tuple[Access, Environment | None]:
        """Return what a key opens.

        Returns:
            What it opens, and the environment as it is at this moment where it had to be read.

        Raises:
            UnauthorizedError: `unknown_account`, it opens nothing.
        """
        hashed = key_hash(key)
        now = time.monotonic()
        known = self._known.get(hashed)
        if known is not None and known[0] > now:
            return known[1], None
        self._known.pop(hashed, None)
        opened = await self._keys.open(key)
        access = _access(opened, hashed)
        self._known[hashed] = (now + _REMEMBERED_SECONDS, access)
        if len(self._known) > _REMEMBERED_KEYS:
            self._known.popitem(last=False)
        return access, opened.environment

    def forget(self) -> None:
        """Look every key up anew: a key or an environment has changed."""
        self._known.clear()


def _access(opened: OpenedEnvironment, hashed: bytes) -> Access:
    key = opened.key
    granted = (EVERYTHING,) if key is None else key.scopes
    return Access(
        environment_id=opened.environment.id,
        environment=opened.environment.name,
        key_id=None if key is None else key.id,
        key_name="secret key" if key is None else key.name,
        granted=granted,
        scopes=frozenset(SCOPES) if key is None else expand(granted),
        bucket=hashed,
    )
