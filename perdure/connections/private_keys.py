"""Private keys as people paste them: PEM, or PEM in base64."""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

__all__ = ["as_pem"]


def as_pem(text: str) -> str:
    r"""Return a private key as PEM.

    Args:
        text: PEM with real line breaks or with `\n` written out, or any of these in base64.

    Raises:
        ValueError: It is none, or it needs a password. The key is not quoted.
    """
    pem = _decoded(text.strip()).replace("\\n", "\n").strip() + "\n"
    try:
        load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        msg = "not a private key in PEM, or in base64 of it, without a password"
        raise ValueError(msg) from None
    return pem


def _decoded(text: str) -> str:
    if text.startswith("-----BEGIN"):
        return text
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text
