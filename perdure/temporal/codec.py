"""Encryption of payloads, so that nothing secret ever stands in a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from perdure.crypto.keyring import KeyRing

__all__ = [
    "SECRET_MARK",
    "STAND_IN_ENCODING",
    "EncryptionCodec",
    "rewrap_payload",
    "rewrap_serialized_payload",
]

SECRET_MARK = "perdure-secret"  # noqa: S105 - a name, not a secret
"""Marks a payload that the converter found to hold a secret."""

STAND_IN_ENCODING = b"binary/perdure-stand-in"
"""Encoding of payloads that stand for a value of this process, see `perdure.temporal.stand_ins`."""

_ENCODING = b"binary/perdure-encrypted"
_AAD = b"perdure temporal payload"


class EncryptionCodec(PayloadCodec):
    """Encrypts payloads with AES-256-GCM; what is not encrypted passes through on reading.

    Args:
        keyring: The first key encrypts, all of them decrypt.
        scope: `secrets` encrypts the payloads marked as holding a secret, `all` every payload.
    """

    def __init__(self, keyring: KeyRing, scope: Literal["secrets", "all"] = "secrets") -> None:
        self._keyring = keyring
        self._all = scope == "all"

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt those payloads that the scope names."""
        return [self._encode(p) for p in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt the encrypted ones."""
        return [self._decode(p) for p in payloads]

    def seal(self, serialized: bytes) -> bytes:
        """Return a serialized payload encrypted, serialized as well."""
        return self._sealed(serialized).SerializeToString(deterministic=True)

    def _encode(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") == STAND_IN_ENCODING:
            # Whoever stores what it stands for seals that.
            return payload
        if not self._all and SECRET_MARK not in payload.metadata:
            return payload
        return self._sealed(payload.SerializeToString())

    def _sealed(self, serialized: bytes) -> Payload:
        sealed = self._keyring.encrypt(serialized, aad=_AAD)
        return Payload(metadata={"encoding": _ENCODING}, data=sealed)

    def _decode(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != _ENCODING:
            return payload
        return Payload.FromString(self._keyring.decrypt(payload.data, aad=_AAD))


def rewrap_payload(keyring: KeyRing, payload: Payload) -> Payload:
    """Return a payload encrypted with the first key of the ring; one in clear stays as it is.

    Raises:
        DecryptionError: The key ring cannot read it.
    """
    if payload.metadata.get("encoding") != _ENCODING:
        return payload
    rewrapped = Payload()
    rewrapped.CopyFrom(payload)
    rewrapped.data = keyring.rewrap(payload.data, aad=_AAD)
    return rewrapped


def rewrap_serialized_payload(keyring: KeyRing, data: bytes) -> bytes:
    """Do as `rewrap_payload` to a payload that is stored outside of histories.

    Raises:
        DecryptionError: The key ring cannot read it.
    """
    payload = rewrap_payload(keyring, Payload.FromString(data))
    return payload.SerializeToString(deterministic=True)
