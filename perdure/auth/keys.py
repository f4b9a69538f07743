"""Private keys as people paste them, and tokens that they sign."""

from __future__ import annotations

import base64
import binascii
import warnings
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from perdure.auth.errors import TokenError
from perdure.connections.private_keys import as_pem

__all__ = ["SigningKey", "algorithm_of", "asymmetric_key", "hmac_key", "sign_jwt"]

SigningKey = RSAKey | ECKey | OKPKey | OctKey

_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_REGISTRY = JWSRegistry(
    algorithms=[
        f"{kind}{size}" for kind in ("HS", "RS", "ES", "PS") for size in ("256", "384", "512")
    ]
    + ["EdDSA", "Ed25519"],
    strict_check_header=False,
)


def asymmetric_key(text: str) -> RSAKey | ECKey | OKPKey:
    """Return a private key.

    Args:
        text: As `as_pem` takes it.

    Raises:
        TokenError: Lasting, if it is no private key that can sign.
    """
    try:
        pem = as_pem(text)
        native = serialization.load_pem_private_key(pem.encode(), password=None)
        match native:
            case rsa.RSAPrivateKey():
                return RSAKey(native, pem)
            case ec.EllipticCurvePrivateKey():
                return ECKey(native, pem)
            case ed25519.Ed25519PrivateKey():
                return OKPKey(native, pem)
            case _:
                raise _not_a_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, JoseError):
        # Without the cause, whose text may quote the key.
        raise _not_a_key() from None


def hmac_key(secret: str, encoding: str) -> OctKey:
    """Return the key that a shared secret is.

    Args:
        secret: The secret.
        encoding: How it is written: `utf8`, `hex` or `base64`.

    Raises:
        TokenError: Lasting, if it is not written so.
    """
    try:
        match encoding:
            case "hex":
                key = bytes.fromhex(secret.strip())
            case "base64":
                key = base64.b64decode(secret.strip(), validate=True)
            case _:
                key = secret.encode()
        with warnings.catch_warnings():
            # How long it is was the provider's choice.
            warnings.simplefilter("ignore", SecurityWarning)
            return OctKey.import_key(key)
    except (ValueError, binascii.Error, JoseError):
        raise TokenError(
            f"The signing secret is empty or not written as {encoding}.",
            lasting=True,
            code="invalid_credentials",
        ) from None


def algorithm_of(key: SigningKey) -> str:
    """Return the algorithm that a key signs with where nothing else is said."""
    match key:
        case RSAKey():
            return "RS256"
        case ECKey():
            return _ALGORITHMS.get(key.raw_value.curve.name, "ES256")
        case OKPKey():
            return "EdDSA"
        case OctKey():
            return "HS256"


def sign_jwt(key: SigningKey, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Return a signed JWT.

    Args:
        key: Signs it.
        header: Further header fields; `alg` is the key's own by default.
        claims: What it says.

    Raises:
        TokenError: Lasting, if the algorithm does not fit the key.
    """
    whole = {"alg": algorithm_of(key), **header}
    try:
        with warnings.catch_warnings():
            # EdDSA has another name now, which few providers know.
            warnings.simplefilter("ignore", SecurityWarning)
            return jwt.encode(whole, dict(claims), key, registry=_REGISTRY)
    except (ValueError, TypeError, JoseError) as error:
        raise TokenError(
            f"A JWT cannot be signed with algorithm {str(whole['alg'])!r} and this key.",
            lasting=True,
            code="invalid_credentials",
        ) from error


def _not_a_key() -> TokenError:
    return TokenError(
        "The private key is not a PEM private key (RSA, EC or Ed25519), nor base64 of one.",
        lasting=True,
        code="invalid_credentials",
    )
