"""Payloads as people may read them: fetched from where large ones are kept, and decrypted."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.json_format import Parse, ParseError
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.converter import PayloadCodec

from perdure.crypto.keyring import DecryptionError
from perdure.records.canonical import to_json
from perdure.temporal.bulk import as_plain_json
from perdure.temporal.external_storage import CLAIM_KEY, BlobStore

__all__ = ["readable"]

_REFERENCE = ExternalStorageReference.DESCRIPTOR.full_name.encode()
# A page shows many payloads, and nobody reads a megabyte of one.
_LARGEST_FETCHED = 1024 * 1024


async def readable(
    payloads: Sequence[Payload], codec: PayloadCodec, blobs: BlobStore
) -> list[Payload]:
    """Return payloads in clear, in their order.

    What cannot be decrypted becomes a sentence that says why; what is too large to show, or is not
    kept any more, stays a reference.

    Args:
        payloads: As they stand in a history.
        codec: Decrypts.
        blobs: Where large payloads are kept.
    """
    keys = {index: key for index, one in enumerate(payloads) if (key := _blob_key(one))}
    stored = await blobs.get_many(sorted(set(keys.values()))) if keys else {}
    found = [
        Payload.FromString(stored[keys[index]]) if keys.get(index) in stored else one
        for index, one in enumerate(payloads)
    ]
    return [await _decrypted(one, codec) for one in found]


def _blob_key(payload: Payload) -> str | None:
    """Return under which key a payload is kept, None where it is here or too large to show."""
    if payload.metadata.get("messageType") != _REFERENCE:
        return None
    if sum(external.size_bytes for external in payload.external_payloads) > _LARGEST_FETCHED:
        return None
    try:
        reference = Parse(payload.data, ExternalStorageReference())
    except ParseError:
        return None
    return reference.claim_data.get(CLAIM_KEY)


async def _decrypted(payload: Payload, codec: PayloadCodec) -> Payload:
    try:
        (clear,) = await codec.decode([payload])
    except DecryptionError as error:
        return Payload(metadata={"encoding": b"json/plain"}, data=to_json(error.message))
    return as_plain_json(clear)
