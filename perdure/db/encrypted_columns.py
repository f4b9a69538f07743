"""Every column that holds ciphertexts of the key ring, and how each is encrypted anew.

A new one belongs here as well as into its store: a test holds the columns of the schema, and the
modules that encrypt, against this list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from perdure.crypto.keyring import KeyRing
from perdure.db.connections import connection_aad
from perdure.db.integrations import integration_aad
from perdure.db.oauth_states import state_aad
from perdure.db.run_cursors import CursorKey, cursor_aad
from perdure.db.variables import variable_aad
from perdure.db.webhook_arrivals import event_aad
from perdure.db.webhook_settings import signing_key_aad

__all__ = ["ENCRYPTED_COLUMNS", "EncryptedColumn"]


@dataclass(frozen=True, slots=True)
class EncryptedColumn:
    """A column with ciphertexts.

    Attributes:
        key: Names of the columns that make the row's key, in order.
        first: A key before that of every row.
        select: Locks and returns rows after a key that are not encrypted with a given key of the
            ring, in the order of their keys; the ciphertext is `sealed`.
        update: Writes ciphertexts, by key.
        counts: Counts rows by the id of the key they are encrypted with.
        rewrap: Returns the ciphertext of a row with the first key of the ring; None where it is a
            serialized Temporal payload.
    """

    key: tuple[str, ...]
    first: tuple[Any, ...]
    select: str
    update: str
    counts: str
    rewrap: Callable[[KeyRing, asyncpg.Record], bytes] | None


# NO KEY UPDATE: rows that refer to these are written meanwhile.
_CONNECTIONS = EncryptedColumn(
    key=("id",),
    first=(0,),
    select="""
SELECT id, environment_id, integration_id, connection_id, credentials AS sealed
  FROM connections
 WHERE id > $1 AND encryption_key_id(credentials) <> $2
 ORDER BY id
 LIMIT $3
   FOR NO KEY UPDATE
""",
    update="""
UPDATE connections t SET credentials = u.sealed
  FROM unnest($1::bytea[], $2::bigint[]) AS u (sealed, id)
 WHERE t.id = u.id
""",
    counts="""
SELECT encryption_key_id(credentials) AS key_id, count(*) FROM connections GROUP BY 1
""",
    rewrap=lambda ring, row: ring.rewrap(
        row["sealed"],
        aad=connection_aad(row["environment_id"], row["integration_id"], row["connection_id"]),
    ),
)

_INTEGRATIONS = EncryptedColumn(
    key=("id",),
    first=(0,),
    select="""
SELECT id, environment_id, unique_key, credentials AS sealed
  FROM integrations
 WHERE id > $1 AND credentials IS NOT NULL AND encryption_key_id(credentials) <> $2
 ORDER BY id
 LIMIT $3
   FOR NO KEY UPDATE
""",
    update="""
UPDATE integrations t SET credentials = u.sealed
  FROM unnest($1::bytea[], $2::bigint[]) AS u (sealed, id)
 WHERE t.id = u.id
""",
    counts="""
SELECT encryption_key_id(credentials) AS key_id, count(*)
  FROM integrations
 WHERE credentials IS NOT NULL
 GROUP BY 1
""",
    rewrap=lambda ring, row: ring.rewrap(
        row["sealed"], aad=integration_aad(row["environment_id"], row["unique_key"])
    ),
)

_VARIABLES = EncryptedColumn(
    key=("environment_id", "name"),
    first=(0, ""),
    select="""
SELECT environment_id, name, value AS sealed
  FROM environment_variables
 WHERE (environment_id, name) > ($1, $2) AND encryption_key_id(value) <> $3
 ORDER BY environment_id, name
 LIMIT $4
   FOR NO KEY UPDATE
""",
    update="""
UPDATE environment_variables t SET value = u.sealed
  FROM unnest($1::bytea[], $2::bigint[], $3::text[]) AS u (sealed, environment_id, name)
 WHERE t.environment_id = u.environment_id AND t.name = u.name
""",
    counts="""
SELECT encryption_key_id(value) AS key_id, count(*) FROM environment_variables GROUP BY 1
""",
    rewrap=lambda ring, row: ring.rewrap(
        row["sealed"], aad=variable_aad(row["environment_id"], row["name"])
    ),
)

_SIGNING_KEYS = EncryptedColumn(
    key=("environment_id",),
    first=(0,),
    select="""
SELECT environment_id, signing_key AS sealed
  FROM webhook_settings
 WHERE environment_id > $1 AND signing_key IS NOT NULL AND encryption_key_id(signing_key) <> $2
 ORDER BY environment_id
 LIMIT $3
   FOR NO KEY UPDATE
""",
    update="""
UPDATE webhook_settings t SET signing_key = u.sealed
  FROM unnest($1::bytea[], $2::bigint[]) AS u (sealed, environment_id)
 WHERE t.environment_id = u.environment_id
""",
    counts="""
SELECT encryption_key_id(signing_key) AS key_id, count(*)
  FROM webhook_settings
 WHERE signing_key IS NOT NULL
 GROUP BY 1
""",
    rewrap=lambda ring, row: ring.rewrap(row["sealed"], aad=signing_key_aad(row["environment_id"])),
)

_WEBHOOK_EVENTS = EncryptedColumn(
    key=("id",),
    first=(UUID(int=0),),
    select="""
SELECT id, body AS sealed
  FROM webhook_events
 WHERE id > $1 AND encryption_key_id(body) <> $2
 ORDER BY id
 LIMIT $3
   FOR NO KEY UPDATE
""",
    update="""
UPDATE webhook_events t SET body = u.sealed
  FROM unnest($1::bytea[], $2::uuid[]) AS u (sealed, id)
 WHERE t.id = u.id
""",
    counts="""
SELECT encryption_key_id(body) AS key_id, count(*) FROM webhook_events GROUP BY 1
""",
    rewrap=lambda ring, row: ring.rewrap(row["sealed"], aad=event_aad(row["id"])),
)

_OAUTH_STATES = EncryptedColumn(
    key=("state_hash",),
    first=(b"",),
    select="""
SELECT state_hash, flow AS sealed
  FROM oauth_states
 WHERE state_hash > $1 AND encryption_key_id(flow) <> $2
 ORDER BY state_hash
 LIMIT $3
   FOR NO KEY UPDATE
""",
    update="""
UPDATE oauth_states t SET flow = u.sealed
  FROM unnest($1::bytea[], $2::bytea[]) AS u (sealed, state_hash)
 WHERE t.state_hash = u.state_hash
""",
    counts="""
SELECT encryption_key_id(flow) AS key_id, count(*) FROM oauth_states GROUP BY 1
""",
    rewrap=lambda ring, row: ring.rewrap(row["sealed"], aad=state_aad(row["state_hash"])),
)

_RUN_CURSORS = EncryptedColumn(
    key=("run_id", "workflow_id", "number"),
    first=("", "", 0),
    select="""
SELECT run_id, workflow_id, number, state AS sealed
  FROM run_cursors
 WHERE (run_id, workflow_id, number) > ($1, $2, $3)
   AND state IS NOT NULL AND encryption_key_id(state) <> $4
 ORDER BY run_id, workflow_id, number
 LIMIT $5
   FOR NO KEY UPDATE
""",
    update="""
UPDATE run_cursors t SET state = u.sealed
  FROM unnest($1::bytea[], $2::text[], $3::text[], $4::integer[])
       AS u (sealed, run_id, workflow_id, number)
 WHERE t.run_id = u.run_id AND t.workflow_id = u.workflow_id AND t.number = u.number
""",
    counts="""
SELECT encryption_key_id(state) AS key_id, count(*)
  FROM run_cursors
 WHERE state IS NOT NULL
 GROUP BY 1
""",
    rewrap=lambda ring, row: ring.rewrap(
        row["sealed"], aad=cursor_aad(CursorKey(row["run_id"], row["workflow_id"], row["number"]))
    ),
)

# A blob keeps its name when it is encrypted anew, since histories hold that.
_PAYLOADS = EncryptedColumn(
    key=("key",),
    first=("",),
    select="""
SELECT key, data AS sealed
  FROM payload_blobs
 WHERE key > $1 AND payload_encryption_key_id(data) <> $2
 ORDER BY key
 LIMIT $3
   FOR NO KEY UPDATE
""",
    update="""
UPDATE payload_blobs t SET data = u.sealed
  FROM unnest($1::bytea[], $2::text[]) AS u (sealed, key)
 WHERE t.key = u.key
""",
    counts="""
SELECT payload_encryption_key_id(data) AS key_id, count(*)
  FROM payload_blobs
 WHERE payload_encryption_key_id(data) IS NOT NULL
 GROUP BY 1
""",
    rewrap=None,
)

ENCRYPTED_COLUMNS: Mapping[str, EncryptedColumn] = {
    "connections.credentials": _CONNECTIONS,
    "integrations.credentials": _INTEGRATIONS,
    "environment_variables.value": _VARIABLES,
    "webhook_settings.signing_key": _SIGNING_KEYS,
    "webhook_events.body": _WEBHOOK_EVENTS,
    "oauth_states.flow": _OAUTH_STATES,
    "run_cursors.state": _RUN_CURSORS,
    "payload_blobs.data": _PAYLOADS,
}
"""All of them, by table and column."""
