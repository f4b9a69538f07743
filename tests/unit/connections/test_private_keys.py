"""Private keys as people paste them."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from perdure.connections.private_keys import as_pem

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    "pasted",
    [
        PEM,
        f"  {PEM}\n\n",
        PEM.replace("\n", "\\n"),
        base64.b64encode(PEM.encode()).decode(),
        base64.encodebytes(PEM.encode()).decode(),
    ],
    ids=["pem", "with white space", "in one line", "base64", "base64 in lines"],
)
def test_every_spelling_is_the_same_key(pasted: str) -> None:
    assert as_pem(pasted) == PEM


@pytest.mark.parametrize("pasted", ["", "secret", base64.b64encode(b"secret").decode(), PEM[:60]])
def test_what_is_no_key_is_refused(pasted: str) -> None:
    with pytest.raises(ValueError, match="not a private key"):
        as_pem(pasted)


def test_key_with_a_password_is_refused() -> None:
    locked = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw"))

    with pytest.raises(ValueError, match="without a password"):
        as_pem(locked.decode())
