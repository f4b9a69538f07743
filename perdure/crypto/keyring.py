"""A ring of AES-256-GCM keys: the first encrypts, all of them decrypt.

What `KeyRing.encrypt` returns describes itself:

    version (1 byte) | length of key id (1 byte) | key id | nonce (12 bytes) | ciphertext and tag

so that a key can be rotated by putting a new one in front, and retired once nothing that was
encrypted with it is left. Header and caller's associated data are authenticated: a ciphertext
that was moved to another row, or whose key id was changed, does not decrypt. Nonces are random,
which is sound for 2**32 messages a key.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from perdure.errors import PerdureError, StartupError

__all__ = ["DecryptionError", "KeyRing", "new_key"]

_VERSION = 1
_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class DecryptionError(PerdureError):
    """Encrypted data cannot be read: its key is not in the ring, or it was tampered with.

    The code is `unknown_encryption_key`, `tampered_ciphertext` or `malformed_ciphertext`.
    """

    default_code = "tampered_ciphertext"


class KeyRing:
    """Keys by id. Neither `repr` nor any error shows key material.

    Args:
        keys: Pairs of key id and 32-byte key, the encrypting one first.

    Raises:
        StartupError: No key, an unusable or repeated id, or a key that is not 32 bytes long.
    """

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        if not keys:
            raise _invalid("it holds no key")
        self._ciphers: dict[str, AESGCM] = {}
        for position, (key_id, key) in enumerate(keys, start=1):
            if not _KEY_ID.fullmatch(key_id):
                raise _invalid(f"key {position} needs an id of 1 to 64 letters, digits, _ . or -")
            if key_id in self._ciphers:
                raise _invalid(f"the id {key_id!r} stands twice")
            if len(key) != _KEY_BYTES:
                raise _invalid(f"key {key_id!r} has {len(key)} bytes instead of {_KEY_BYTES}")
            self._ciphers[key_id] = AESGCM(key)
        self._primary = keys[0][0]

    @classmethod
    def parse(cls, text: str) -> KeyRing:
        """Read a ring from `id:base64,id2:base64`, the encrypting key first.

        Raises:
            StartupError: As the constructor, or an entry is not `id:base64`.
        """
        keys = []
        for position, entry in enumerate(text.split(","), start=1):
            key_id, separator, encoded = entry.strip().partition(":")
            if not separator:
                raise _invalid(f"key {position} is not of the form id:base64")
            try:
                keys.append((key_id, base64.b64decode(encoded, validate=True)))
            except binascii.Error:
                # The cause would quote nothing secret, yet it stands beside secrets: leave it out.
                raise _invalid(f"key {position} is not valid base64") from None
        return cls(keys)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of all keys, the encrypting one first."""
        return tuple(self._ciphers)

    @property
    def primary(self) -> str:
        """Id of the key that encrypts."""
        return self._primary

    def rewrap(self, ciphertext: bytes, *, aad: bytes) -> bytes:
        """Return a ciphertext of the same with the first key; one that has it already stays.

        Args:
            ciphertext: What `encrypt` returned.
            aad: The bytes that were given to `encrypt`.

        Raises:
            DecryptionError: As `decrypt`.
        """
        if _key_id(ciphertext) == self._primary:
            return ciphertext
        return self.encrypt(self.decrypt(ciphertext, aad=aad), aad=aad)

    def encrypt(self, plaintext: bytes, *, aad: bytes) -> bytes:
        """Encrypt with the first key.

        Args:
            plaintext: What to hide.
            aad: What the ciphertext belongs to; the same bytes are needed to decrypt it.
        """
        header = _header(self._primary)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._primary].encrypt(nonce, plaintext, header + aad)
        return header + nonce + sealed

    def decrypt(self, ciphertext: bytes, *, aad: bytes) -> bytes:
        """Decrypt with the key that the ciphertext names.

        Args:
            ciphertext: What `encrypt` returned, by this ring or by one that shares the key.
            aad: The bytes that were given to `encrypt`.

        Raises:
            DecryptionError: The key is not in the ring, the ciphertext was changed or belongs to
                something else, or it is no ciphertext at all.
        """
        key_id = _key_id(ciphertext)
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            msg = (
                f"Encrypted with key {key_id!r}, which the key ring does not hold. "
                "Add the key to PERDURE_ENCRYPTION_KEYS after the present ones."
            )
            raise DecryptionError(msg, code="unknown_encryption_key")
        header = _header(key_id)
        body = len(header) + _NONCE_BYTES
        try:
            return cipher.decrypt(ciphertext[len(header) : body], ciphertext[body:], header + aad)
        except InvalidTag:
            msg = f"Encrypted data does not match key {key_id!r} and the row it stands in."
            raise DecryptionError(msg) from None

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._ciphers)})"


def new_key() -> str:
    """Return a fresh ring of one key, `id:base64`, with a random id."""
    encoded = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    return f"k{secrets.token_hex(4)}:{encoded}"


def _header(key_id: str) -> bytes:
    return bytes((_VERSION, len(key_id))) + key_id.encode()


def _key_id(ciphertext: bytes) -> str:
    known_version = len(ciphertext) > 2 and ciphertext[0] == _VERSION
    end = 2 + ciphertext[1] if known_version else 0
    key_id = ciphertext[2:end].decode("ascii", "replace")
    whole = len(ciphertext) >= end + _NONCE_BYTES + _TAG_BYTES
    if not known_version or not whole or not _KEY_ID.fullmatch(key_id):
        msg = "This is not data that a key ring of this version encrypted."
        raise DecryptionError(msg, code="malformed_ciphertext")
    return key_id


def _invalid(reason: str) -> StartupError:
    msg = f"The key ring is unusable: {reason}. `perdure keys new` prints a key."
    return StartupError(msg, code="invalid_encryption_keys")
