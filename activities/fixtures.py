"""What a dry run leaves for a test of its script: all that the script was told, and all it did.

The shape is that of `<integration>/tests/<name>.test.json`; `docs/testing.md` describes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perdure.db.database import Database
from perdure.db.dry_runs import Touched
from perdure.ids import ConnectionKey
from perdure.proxy.redaction import MASK, is_sensitive_name
from perdure.records.canonical import to_json
from perdure.temporal.payloads import RunContext

__all__ = ["FixtureTooLargeError", "fixture_of"]

_MOST_RECORDS = 1_000
_MOST_EXCHANGES = 500
_MOST_BYTES = 10 * 1024 * 1024


class FixtureTooLargeError(Exception):
    """What the run did is more than a test should hold."""


async def fixture_of(
    database: Database,
    context: RunContext,
    *,
    checkpoint: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    paginate: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the fixture of a dry run that succeeded, but for its input and output.

    Args:
        database: Our own data.
        context: The run.
        checkpoint: The one it left.
        metadata: What it had in place of the connection's.
        paginate: How the provider paginates by itself.

    Raises:
        FixtureTooLargeError: Told in a sentence.
    """
    key = ConnectionKey(context.connection_key)
    touched = await database.dry_runs.touched(
        context.run_id, key, context.variant, limit=_MOST_RECORDS + 1
    )
    exchanges = await database.dry_runs.exchanges(context.run_id, limit=_MOST_EXCHANGES + 1)
    for what, found, most in (
        ("records", touched, _MOST_RECORDS),
        ("requests", exchanges, _MOST_EXCHANGES),
    ):
        if len(found) > most:
            msg = f"The run made more than {most:,} {what}; a fixture holds at most that many."
            raise FixtureTooLargeError(msg)
    connection = await database.connections.by_key(key)
    nango: dict[str, Any] = {
        "getConnection": {
            "connection_id": connection.connection_id,
            "provider_config_key": connection.integration,
            "provider": connection.provider,
            "connection_config": {
                name: MASK if is_sensitive_name(name) else value
                for name, value in connection.connection_config.items()
            },
        },
        "paginate": paginate,
        "getMetadata": metadata if metadata is not None else connection.metadata or {},
    }
    nango |= _records(touched)
    if checkpoint is not None:
        nango["saveCheckpoint"] = dict(checkpoint)
    fixture = {"nango": nango, "api": _api(exchanges)}
    size = len(to_json(fixture))
    if size > _MOST_BYTES:
        msg = (
            f"The fixture would have {size / 2**20:.1f} MB; at most {_MOST_BYTES // 2**20} MB are "
            "possible."
        )
        raise FixtureTooLargeError(msg)
    return fixture


def _records(touched: Sequence[Touched]) -> dict[str, Any]:
    saved: dict[str, list[Any]] = {}
    deleted: dict[str, list[Any]] = {}
    there: dict[str, list[Any]] = {}
    for record in touched:
        if record.deleted:
            deleted.setdefault(record.model, []).append({"id": record.record_id})
        else:
            saved.setdefault(record.model, []).append(record.after)
        if record.before is not None:
            there.setdefault(record.model, []).append(record.before)
    found = {"batchSave": saved, "batchDelete": deleted, "listRecords": there}
    return {name: by_model for name, by_model in found.items() if by_model}


def _api(exchanges: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Group answers by method and path; several of one path are kept in order."""
    api: dict[str, dict[str, Any]] = {}
    for exchange in exchanges:
        answer = {"response": exchange["response"]}
        for name in ("params", "headers"):
            if exchange[name]:
                answer[name] = exchange[name]
        if exchange["status"] != 200:
            answer["status"] = exchange["status"]
        if exchange["is_base64"]:
            answer["is_base64"] = True
        api.setdefault(exchange["method"], {}).setdefault(exchange["path"], []).append(answer)
    return {
        method: {path: found[0] if len(found) == 1 else found for path, found in paths.items()}
        for method, paths in api.items()
    }
