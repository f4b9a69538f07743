"""From what a script hands over to what is written: every check of a batch happens here.

A batch is taken whole or refused whole. Once it is prepared, each of its records has a usable id,
a hash and a stored form whose first key is that id, as a string.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from perdure.errors import FieldError, InvalidInputError
from perdure.records.canonical import JsonObject, canonical_hash, to_json

__all__ = [
    "MAX_ID_BYTES",
    "PreparedBatch",
    "PreparedDeletion",
    "PreparedUpdate",
    "check_deletions",
    "check_ids",
    "prepare_batch",
    "prepare_deletion",
    "prepare_update",
]

MAX_ID_BYTES = 1024
"""Longest id of a record, in bytes of UTF-8."""

_METADATA_KEY = "_nango_metadata"
_DELETED_AT = "deletedAt"
_NAMED_IN_MESSAGE = 10
_MAX_INT_BITS = 4 * MAX_ID_BYTES


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """Records that are ready to be written, in the order they were given, each id once.

    Attributes:
        ids: Ids as strings, without NUL characters.
        payloads: Stored form of each record: compact JSON that starts with `{"id":`.
        hashes: 16-byte hash of each record; the order of its keys plays no part.
        duplicates: Ids that came more than once, in the order they came again. The first
            record of an id is the one that is kept.
        unfit: Records that seem not to fit their model, with their index.
    """

    ids: tuple[str, ...]
    payloads: tuple[bytes, ...]
    hashes: tuple[bytes, ...]
    duplicates: tuple[str, ...] = ()
    unfit: tuple[tuple[int, Mapping[str, Any]], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class PreparedDeletion:
    """Records that are ready to be marked as deleted, each id once.

    Attributes:
        batch: The ids, and what stands for a record that was not known.
        deleted_at: When each was deleted at the source, None where nobody says.
    """

    batch: PreparedBatch
    deleted_at: tuple[datetime | None, ...]


@dataclass(frozen=True, slots=True)
class PreparedUpdate:
    """Parts of records that are ready to be merged, by id.

    Attributes:
        partials: The first part of each id.
        duplicates: As in `PreparedBatch`.
    """

    partials: Mapping[str, Mapping[str, Any]]
    duplicates: tuple[str, ...] = ()


def prepare_batch(
    records: Iterable[object],
    *,
    first: int = 0,
    earlier: Collection[str] = frozenset(),
    fits: Callable[[Any], bool] | None = None,
    encode: Callable[[object], bytes] = to_json,
) -> PreparedBatch:
    """Check and encode records that are to be saved.

    An id is a non-empty string or an integer other than 0; `7` and `"7"` are the same record.
    A key `_nango_metadata`, which records that were read before carry, is dropped.

    All is done with a record before the next one is asked for: it is dear to come back to one
    that has left the processor's cache.

    Args:
        records: JSON objects.
        first: Index of the first of them, by which errors name it.
        earlier: Ids of records that were saved along with them and are prepared already; of an id
            that comes twice the first record counts.
        fits: Says of a record whether it fits its model; None where nobody asks.
        encode: Writes what is stored; raises a TypeError where it cannot.

    Raises:
        InvalidInputError: `missing_id` or `invalid_id`, with one error for each bad record, or
            `invalid_record` where a record cannot be written as JSON.
    """
    payloads: dict[str, bytes] = {}
    hashes, duplicates, unfit, problems = [], [], [], []
    ids = _Ids()
    for index, record in enumerate(records, first):
        identified = ids.checked(index, record)
        if identified is None:
            continue
        record_id, found = identified
        if fits is not None and not fits(found):
            unfit.append((index, found))
        if record_id in payloads or record_id in earlier:
            duplicates.append(record_id)
            continue
        stored = _stored(record_id, found)
        try:
            payload, hash_ = encode(stored), canonical_hash(stored)
        except TypeError as error:
            problems.append(FieldError("invalid_record", str(error), (index,)))
            continue
        payloads[record_id] = payload
        hashes.append(hash_)
    ids.refuse_bad()
    if problems:
        msg = f"{_positions(problems)} cannot be written as JSON: {problems[0].message}"
        raise InvalidInputError(msg, code="invalid_record", errors=problems)
    return PreparedBatch(
        ids=tuple(payloads),
        payloads=tuple(payloads.values()),
        hashes=tuple(hashes),
        duplicates=tuple(duplicates),
        unfit=tuple(unfit),
    )


def _stored(record_id: str, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is stored of a record.

    The id comes first: whoever reads the stored text finds it without decoding the rest.
    """
    if type(record) is dict and _METADATA_KEY not in record:
        name, value = next(iter(record.items()))
        if name == "id" and value is record_id:
            return record
    payload: JsonObject = {"id": record_id}
    payload.update(record)
    payload["id"] = record_id
    payload.pop(_METADATA_KEY, None)
    return payload


def prepare_deletion(records: Sequence[object]) -> PreparedDeletion:
    """Check records that are to be deleted.

    Besides its id only `deletedAt` of a record matters: a moment, as a datetime or in ISO 8601,
    in UTC where it names no zone.

    Args:
        records: JSON objects with an `id`.

    Raises:
        InvalidInputError: `missing_id` or `invalid_id`, as `prepare_batch`, or
            `invalid_deleted_at`.
    """
    moments = check_deletions(records)
    firsts, duplicates = _firsts(records)
    batch = prepare_batch([{"id": record_id} for record_id in firsts])
    return PreparedDeletion(
        replace(batch, duplicates=duplicates),
        tuple(moments[index] for index, _ in firsts.values()),
    )


def prepare_update(partials: Sequence[object]) -> PreparedUpdate:
    """Check the ids of partial records.

    Args:
        partials: JSON objects with an `id`.

    Raises:
        InvalidInputError: `missing_id` or `invalid_id`, as `prepare_batch`.
    """
    firsts, duplicates = _firsts(partials)
    return PreparedUpdate({name: partial for name, (_, partial) in firsts.items()}, duplicates)


def check_deletions(records: Sequence[object]) -> list[datetime | None]:
    """Check records that are to be deleted, before the first of several batches is.

    Returns:
        When each was deleted at the source, as `prepare_deletion` reads it.

    Raises:
        InvalidInputError: As `prepare_deletion`.
    """
    moments = []
    problems = []
    for index, (_, record) in enumerate(_identified(records)):
        try:
            moments.append(_moment(record.get(_DELETED_AT)))
        except (TypeError, ValueError, OverflowError):
            problem = "it is no moment in ISO 8601, such as 2026-01-31T12:00:00Z"
            problems.append(FieldError("invalid_deleted_at", problem, (index, _DELETED_AT)))
    if problems:
        msg = f"{_positions(problems)} with an unusable {_DELETED_AT}: {problems[0].message}."
        raise InvalidInputError(msg, code="invalid_deleted_at", errors=problems)
    return moments


def check_ids(records: Sequence[object]) -> list[str]:
    """Check the ids of records before the first of several batches is written.

    Returns:
        The ids as they will be stored, in the order of the records.

    Raises:
        InvalidInputError: `missing_id` or `invalid_id`, as `prepare_batch`.
    """
    return [record_id for record_id, _ in _identified(records)]


def _firsts(
    records: Sequence[object],
) -> tuple[dict[str, tuple[int, Mapping[str, Any]]], tuple[str, ...]]:
    """Return the first record of each id with its index, and the ids that came again."""
    firsts: dict[str, tuple[int, Mapping[str, Any]]] = {}
    duplicates = []
    for index, (record_id, record) in enumerate(_identified(records)):
        if record_id in firsts:
            duplicates.append(record_id)
        else:
            firsts[record_id] = (index, record)
    return firsts, tuple(duplicates)


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)  # type: ignore[arg-type]  # what is no text is a TypeError
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _identified(records: Sequence[object]) -> list[tuple[str, Mapping[str, Any]]]:
    ids = _Ids()
    checked = [ids.checked(index, record) for index, record in enumerate(records)]
    ids.refuse_bad()
    return [identified for identified in checked if identified is not None]


class _Ids:
    """Looks at the ids of records, one after the other, and notes what is wrong with them."""

    def __init__(self) -> None:
        self._missing: list[FieldError] = []
        self._invalid: list[FieldError] = []

    def checked(self, index: int, record: object) -> tuple[str, Mapping[str, Any]] | None:
        """Return a record with its id as it is stored, None where it has no usable one."""
        # Asked by type first: `isinstance` is several times dearer in a workflow's sandbox.
        if not (type(record) is dict or isinstance(record, Mapping)):
            self._missing.append(FieldError("missing_id", _missing(record), (index, "id")))
            return None
        record_id = _record_id(record.get("id"))
        if record_id is None:
            self._missing.append(FieldError("missing_id", _missing(record), (index, "id")))
            return None
        if not _is_storable(record_id):
            problem = f"an id has at most {MAX_ID_BYTES} bytes and no unpaired surrogates"
            self._invalid.append(FieldError("invalid_id", problem, (index, "id")))
            return None
        return record_id, record

    def refuse_bad(self) -> None:
        """Raise where an id is missing or invalid."""
        if self._missing:
            msg = (
                f"{_positions(self._missing)} without a usable id: {self._missing[0].message}. "
                "An id is a non-empty string or an integer other than 0. Nothing was written."
            )
            errors = [*self._missing, *self._invalid]
            raise InvalidInputError(msg, code="missing_id", errors=errors)
        if self._invalid:
            msg = f"{_positions(self._invalid)} with an unusable id: {self._invalid[0].message}."
            raise InvalidInputError(msg, code="invalid_id", errors=self._invalid)


def _record_id(value: object) -> str | None:
    if type(value) is str:
        # Postgres text holds no NUL; Nango drops it from ids too. Most are returned as they are.
        return value.replace("\0", "") or None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == 0:
        return None
    if isinstance(value, int) and value.bit_length() > _MAX_INT_BITS:
        # Python refuses to write such a number; let the length check speak of it.
        return "9" * (MAX_ID_BYTES + 1)
    return str(value).replace("\0", "") or None


def _is_storable(record_id: str) -> bool:
    if record_id.isascii():
        return len(record_id) <= MAX_ID_BYTES
    try:
        return len(record_id.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:
        return False


def _missing(record: object) -> str:
    if not isinstance(record, Mapping):
        return f"it is of type {type(record).__name__} instead of an object"
    if "id" not in record:
        return "it has no id"
    return f"its id is of type {type(record['id']).__name__} and not usable"


def _positions(problems: Sequence[FieldError]) -> str:
    indexes = [str(problem.path[0]) for problem in problems]
    named = ", ".join(indexes[:_NAMED_IN_MESSAGE])
    rest = len(indexes) - _NAMED_IN_MESSAGE
    more = f" and {rest} more" if rest > 0 else ""
    return f"Record{'s' if len(indexes) > 1 else ''} at index {named}{more}"
