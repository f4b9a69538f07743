"""Payloads as people may read them: fetched from where large ones are kept, and decrypted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.json_format import Parse, ParseError
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.converter import PayloadCodec

from perdure.crypto.keyring import DecryptionError
from perdure.records.canonical import to_json
from perdure.temporal.bulk import as_plain_json
from perdure.temporal.external_storage import CLAIM_KEY

__all__ = ["Blobs", "readable"]

_REFERENCE = ExternalStorageReference.DESCRIPTOR.full_name.encode()
# A page shows many payloads, and nobody reads a megabyte of one.
_LARGEST_FETCHED = 1024 * 1024


class Blobs(Protocol):
    """Large payloads under their keys."""

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Return those that exist."""

    async def known(self, keys: Collection[str]) -> set[str]:
        """Return the keys of those that exist."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A payload that stands elsewhere.

    Attributes:
        key: Under which key.
        size: Its length in bytes.
    """

    key: str
    size: int


async def readable(
    payloads: Sequence[Payload], codec: PayloadCodec, blobs: Blobs, kept_days: float
) -> list[Payload]:
    """Return payloads in clear, in their order.

    What cannot be decrypted, or is not kept any more, becomes a sentence that says why; what is too
    large to show stays a reference.

    Args:
        payloads: As they stand in a history.
        codec: Decrypts.
        blobs: Where large payloads are kept.
        kept_days: How long those of a sync's run are kept once it has ended well.
    """
    named = {index: stored for index, one in enumerate(payloads) if (stored := _stored(one))}
    shown = sorted({one.key for one in named.values() if one.size <= _LARGEST_FETCHED})
    others = sorted({one.key for one in named.values()} - set(shown))
    found = await blobs.get_many(shown) if shown else {}
    known = await blobs.known(others) if others else set()

    async def read(index: int, payload: Payload) -> Payload:
        stored = named.get(index)
        if stored is None or stored.key in known:
            return await _decrypted(payload, codec)
        if stored.key in found:
            return await _decrypted(Payload.FromString(found[stored.key]), codec)
        return _sentence(
            f"{stored.size:,} bytes that are not kept any more. What syncs fetch and save in their "
            f"steps is removed {kept_days:g} days after its last use (PERDURE_PAYLOADS_DAYS) where "
            "the run has ended well; all else when Temporal should have removed the history."
        )

    return [await read(index, one) for index, one in enumerate(payloads)]


def _stored(payload: Payload) -> _Stored | None:
    """Return where a payload is kept, None where it is here."""
    if payload.metadata.get("messageType") != _REFERENCE:
        return None
    try:
        reference = Parse(payload.data, ExternalStorageReference())
    except ParseError:
        return None
    key = reference.claim_data.get(CLAIM_KEY)
    if key is None:
        return None
    return _Stored(key, sum(external.size_bytes for external in payload.external_payloads))


async def _decrypted(payload: Payload, codec: PayloadCodec) -> Payload:
    try:
        (clear,) = await codec.decode([payload])
    except DecryptionError as error:
        return _sentence(error.message)
    return as_plain_json(clear)


def _sentence(text: str) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=to_json(text))
