"""Bulk data that travels as it was encoded: once, and decoded where it is needed.

Records and pages are most of what a run moves. A payload that carries them is a line of JSON about
them, followed by a line of JSON for each part. Whoever passes it on copies bytes; nobody builds
objects of what he only hands over, or validates it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic import Field
from pydantic_core import from_json, to_json
from temporalio.api.common.v1 import Payload as PayloadProto
from temporalio.converter import EncodingPayloadConverter

from perdure.temporal.codec import SECRET_MARK
from perdure.temporal.payloads import Payload

__all__ = [
    "BULK_ENCODING",
    "BulkConverter",
    "BulkPayload",
    "as_plain_json",
    "decoded",
    "encoded",
    "encoded_and_plain",
    "encoded_as_is",
    "encoded_by_orjson",
    "serialized",
    "serialized_size",
]

BULK_ENCODING = b"json/perdure-lines"
"""Encoding of payloads of several lines. It can never change."""

# What the two encoders write differently is left to the slower one, so that the same value always
# has the same form, and the same hash.
_SAME_AS_PYDANTIC = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


class BulkPayload(Payload):
    """An argument or a result that carries bulk data.

    Attributes:
        bulk: Its parts, each as JSON without line breaks.
    """

    bulk: tuple[bytes, ...] = Field(default=(), exclude=True)

    def memory(self) -> int:
        """Return how many bytes of memory this takes, about."""
        return sum(map(len, self.bulk))


class BulkConverter(EncodingPayloadConverter):
    """Writes and reads values that have bulk data; all others are left to other converters."""

    @property
    def encoding(self) -> str:
        """See base class."""
        return BULK_ENCODING.decode()

    def to_payload(self, value: Any) -> PayloadProto | None:
        """See base class."""
        if not isinstance(value, BulkPayload) or not value.bulk:
            return None
        metadata = {"encoding": BULK_ENCODING}
        if value.holds_secret():
            metadata[SECRET_MARK] = b"true"
        data = b"\n".join((_head(value), *value.bulk))
        return PayloadProto(metadata=metadata, data=data)

    def from_payload(self, payload: PayloadProto, type_hint: type | None = None) -> Any:
        """See base class."""
        if not (isinstance(type_hint, type) and issubclass(type_hint, BulkPayload)):
            msg = f"a payload with bulk data was to be read as {type_hint!r}"
            raise RuntimeError(msg)
        head, *bulk = payload.data.split(b"\n")
        return type_hint.model_validate_json(head).model_copy(update={"bulk": tuple(bulk)})


def serialized(value: BulkPayload) -> bytes:
    """Return what serializing the payload of a value without secrets gives.

    Its parts are copied once, where they would be copied into the payload and out of it again.
    """
    head = _head(value)
    size = len(head) + _size_of_parts(value)
    return b"\n".join((_BEFORE_DATA + _varint(size) + head, *value.bulk))


def serialized_size(value: BulkPayload) -> int:
    """Return how many bytes `serialized` gives."""
    size = len(_head(value)) + _size_of_parts(value)
    return len(_BEFORE_DATA) + len(_varint(size)) + size


def _head(value: BulkPayload) -> bytes:
    return value.model_dump_json().encode()


def _size_of_parts(value: BulkPayload) -> int:
    return sum(map(len, value.bulk)) + len(value.bulk)


# The metadata, and the tag of the field behind it, which is the last one: field 2, of bytes.
_BEFORE_DATA = PayloadProto(metadata={"encoding": BULK_ENCODING}).SerializeToString() + b"\x12"


def _varint(number: int) -> bytes:
    """Return a number as protocol buffers write lengths: seven bits a byte, the lowest first."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def encoded(value: Any) -> bytes:
    """Return a value as JSON without line breaks, in the form in which pydantic writes it.

    Raises:
        PydanticSerializationError: It is no JSON.
    """
    return encoded_and_plain(value)[0]


def encoded_and_plain(value: Any) -> tuple[bytes, Any]:
    """Return a value as `encoded` does, and as whoever reads that has it.

    Raises:
        PydanticSerializationError: It is no JSON.
    """
    data = encoded_by_orjson(value)
    if data is not None:
        return data, value
    data = to_json(value)
    return data, decoded(data)


def encoded_by_orjson(value: Any) -> bytes | None:
    """Return a value as `encoded` does, None where orjson could not read it back as it was.

    What it writes it reads: it refuses integers of which it would lose digits.
    """
    try:
        return encoded_as_is(value)
    except TypeError:
        return None


def encoded_as_is(value: Any) -> bytes:
    """Return a value as `encoded_by_orjson` does.

    Raises:
        TypeError: Another form than its own is needed.
    """
    return orjson.dumps(value, option=_SAME_AS_PYDANTIC)


def decoded(data: bytes, *, by_orjson: bool = False) -> Any:
    """Return the value of JSON; integers keep all of their digits.

    Args:
        data: The JSON.
        by_orjson: Whether `encoded_by_orjson` wrote it, which makes reading it cheaper.
    """
    return orjson.loads(data) if by_orjson else from_json(data)


def as_plain_json(payload: PayloadProto) -> PayloadProto:
    """Return a payload for people, who read JSON only: one with bulk data becomes a list."""
    if payload.metadata.get("encoding") != BULK_ENCODING:
        return payload
    lines: Sequence[bytes] = payload.data.split(b"\n")
    return PayloadProto(metadata={"encoding": b"json/plain"}, data=b"[" + b",".join(lines) + b"]")
