"""What is encrypted is known to the rotation: a column that is forgotten fails here."""

from __future__ import annotations

import ast
from pathlib import Path

import perdure
from perdure.crypto.keyring import KeyRing, new_key
from perdure.db.database import Database
from perdure.db.encrypted_columns import ENCRYPTED_COLUMNS
from perdure.temporal.codec import rewrap_serialized_payload

# Hashes, and scripts as payloads in clear.
IN_CLEAR = {
    "action_keys.fingerprint",
    "api_keys.key_hash",
    "connect_sessions.token_hash",
    "dry_run_records.payload_hash",
    "environments.secret_key_hash",
    "oauth_states.state_hash",
    "records.payload_hash",
    "script_overrides.payload",
}
ENCRYPTING = {
    "perdure/db/connections.py": "connections.credentials",
    "perdure/db/credential_refreshes.py": "connections.credentials",
    "perdure/db/integrations.py": "integrations.credentials",
    "perdure/db/oauth_states.py": "oauth_states.flow",
    "perdure/db/run_cursors.py": "run_cursors.state",
    "perdure/db/variables.py": "environment_variables.value",
    "perdure/db/webhook_arrivals.py": "webhook_events.body",
    "perdure/db/webhook_settings.py": "webhook_settings.signing_key",
    "perdure/temporal/codec.py": "payload_blobs.data",
    # A cookie, which is over after 12 hours.
    "api/codec_session.py": None,
    # A link that signs in, which is printed and never stored.
    "api/dashboard/tickets.py": None,
    # The ring itself.
    "perdure/crypto/keyring.py": None,
}
ROOT = Path(perdure.__file__).parent.parent

_BYTEA = """
SELECT table_name || '.' || column_name
  FROM information_schema.columns
 WHERE table_schema = 'public' AND data_type = 'bytea'
"""


async def test_every_column_of_bytes_is_rotated_or_known_to_be_in_clear(db: Database) -> None:
    found = {row[0] for row in await db.pool.fetch(_BYTEA)}

    assert found - IN_CLEAR == set(ENCRYPTED_COLUMNS)


def test_whatever_encrypts_is_rotated() -> None:
    """Ciphertexts might also be put into columns of text, so the callers are looked at, too."""
    encrypting = {
        str(path.relative_to(ROOT))
        for folder in ("activities", "api", "config", "perdure", "workflows")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "encrypt"
    }

    assert encrypting == set(ENCRYPTING)
    assert {column for column in ENCRYPTING.values() if column} == set(ENCRYPTED_COLUMNS)


async def test_the_key_of_a_ciphertext_is_read_in_the_database(db: Database) -> None:
    ring = KeyRing.parse(new_key())
    sealed = ring.encrypt(b"text", aad=b"row")

    async def key_of(data: bytes) -> str:
        return await db.pool.fetchval("SELECT encryption_key_id($1)", data)

    assert await key_of(sealed) == ring.primary
    for malformed in (b"", b"\x01", b"\x02\x01a", b"text"):
        assert await key_of(malformed) == ""


async def test_the_key_of_a_payload_is_read_in_the_database(db: Database) -> None:
    from temporalio.api.common.v1 import Payload

    from perdure.temporal.codec import EncryptionCodec

    old, new = new_key(), new_key()
    ring = KeyRing.parse(old)
    clear = Payload(metadata={"encoding": b"json/plain"}, data=b"1" * 100)

    async def key_of(payload: Payload) -> str | None:
        data = payload.SerializeToString(deterministic=True)
        return await db.pool.fetchval("SELECT payload_encryption_key_id($1)", data)

    assert await key_of(clear) is None
    for size in (0, 1, 100, 20_000, 3_000_000):
        payload = Payload(metadata={"encoding": b"json/plain"}, data=b"1" * size)
        (sealed,) = await EncryptionCodec(ring, "all").encode([payload])
        assert await key_of(sealed) == ring.primary, size
        both = KeyRing.parse(f"{new},{old}")
        rewrapped = Payload.FromString(
            rewrap_serialized_payload(both, sealed.SerializeToString(deterministic=True))
        )
        assert await key_of(rewrapped) == both.primary
        assert await EncryptionCodec(KeyRing.parse(new)).decode([rewrapped]) == [payload]
