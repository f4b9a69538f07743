"""Who is at a provider's consent page. A state is good once, for a quarter of an hour."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import timedelta

from perdure.crypto.keyring import KeyRing
from perdure.db.pool import Pool, borrowed
from perdure.errors import InvalidInputError
from perdure.records.canonical import JsonObject, to_json

__all__ = ["STATE_TTL", "OAuthState", "OAuthStateStore", "state_aad"]

STATE_TTL = timedelta(minutes=15)
"""How long people may take to consent."""

_CREATE = """
INSERT INTO oauth_states (state_hash, session_id, integration_id, flow, expires_at)
VALUES ($1, $2, $3, $4, now() + $5::interval)
"""

# Whoever deletes the row has it: a state that is sent twice is good once.
_TAKE = """
DELETE FROM oauth_states WHERE state_hash = $1
RETURNING session_id, integration_id, flow, expires_at > now() AS is_good
"""

_SWEEP = "DELETE FROM oauth_states WHERE expires_at < now()"


@dataclass(frozen=True, slots=True)
class OAuthState:
    """What is known of somebody who comes back from a consent page.

    Attributes:
        session_id: Row id of their connect session.
        integration_id: Row id of the integration.
        flow: What was noted when they left.
    """

    session_id: int
    integration_id: int
    flow: JsonObject


class OAuthStateStore:
    """Keeps states as hashes, and what is noted with them encrypted.

    Args:
        pool: See `perdure.db.pool.create_pool`.
        keyring: Encrypts what is noted, bound to its state.
    """

    def __init__(self, pool: Pool, keyring: KeyRing) -> None:
        self._pool = pool
        self._keyring = keyring

    @staticmethod
    def new_state() -> str:
        """Return a state that nobody can guess."""
        return secrets.token_urlsafe(32)

    async def create(
        self, state: str, *, session_id: int, integration_id: int, flow: JsonObject
    ) -> None:
        """Note who leaves for a consent page.

        Args:
            state: From `new_state`.
            session_id: Row id of their connect session.
            integration_id: Row id of the integration.
            flow: What is needed when they come back.
        """
        hashed = _hash(state)
        sealed = self._keyring.encrypt(to_json(flow), aad=state_aad(hashed))
        async with borrowed(self._pool) as conn:
            await conn.execute(_SWEEP)
            await conn.execute(_CREATE, hashed, session_id, integration_id, sealed, STATE_TTL)

    async def take(self, state: str) -> OAuthState:
        """Return what was noted with a state, which is used up by that.

        Raises:
            InvalidInputError: `invalid_state`, nobody left with it, it was used, or it is too old.
        """
        hashed = _hash(state)
        async with borrowed(self._pool) as conn:
            row = await conn.fetchrow(_TAKE, hashed)
        if row is None or not row["is_good"]:
            msg = "This sign-in was finished before, or was begun too long ago. Begin it again."
            raise InvalidInputError(msg, code="invalid_state")
        flow = json.loads(self._keyring.decrypt(row["flow"], aad=state_aad(hashed)))
        return OAuthState(row["session_id"], row["integration_id"], flow)


def _hash(state: str) -> bytes:
    return hashlib.sha256(state.encode()).digest()


def state_aad(hashed: bytes) -> bytes:
    """Return what a ciphertext belongs to."""
    return b"perdure/oauth-state/" + hashed
