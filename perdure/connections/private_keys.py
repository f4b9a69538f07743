"""Private keys as people paste them."""

from __future__ import annotations

import base64
import binascii
import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

__all__ = ["as_pem"]

_BEGIN = "-----BEGIN"
_ARMOR = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def as_pem(text: str) -> str:
    r"""Return a private key as PEM.

    Args:
        text: PEM, also with its line breaks written out as `\n`, lost, or turned into spaces; any
            of these in base64; or the base64 inside of a PKCS #8 key alone.

    Raises:
        ValueError: It is none, or it needs a password. The key is not quoted.
    """
    pem = _armored(_decoded(text.strip().strip("\"'")))
    try:
        load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        msg = "not a private key in PEM, or in base64 of it, without a password"
        raise ValueError(msg) from None
    return pem


def _decoded(text: str) -> str:
    if _BEGIN in text:
        return text
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True)
        if decoded.lstrip().startswith(_BEGIN.encode()):
            return decoded.decode()
    except (binascii.Error, UnicodeDecodeError):
        return text
    return f"{_BEGIN} PRIVATE KEY-----{text}-----END PRIVATE KEY-----"


def _armored(text: str) -> str:
    found = _ARMOR.search(text.replace("\\r", "").replace("\\n", "\n"))
    # Headers inside are those of a key with a password.
    if found is None or ":" in found[2]:
        return text
    lines = re.findall(".{1,64}", "".join(found[2].split()))
    return "\n".join((f"-----BEGIN {found[1]}-----", *lines, f"-----END {found[1]}-----", ""))
