import base64
import warnings

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from joserfc.jws import JWSRegistry

from perdure.auth.errors import TokenError
from perdure.auth.keys import algorithm_of, asymmetric_key, hmac_key, sign_jwt
from perdure.connections.private_keys import as_pem

from .conftest import private_pem, public_pem


@pytest.mark.parametrize("pkcs1", [False, True])
def test_key_is_read_however_it_was_pasted(rsa_key: rsa.RSAPrivateKey, pkcs1: bool) -> None:
    pem = private_pem(rsa_key, pkcs1=pkcs1)
    body = "".join(pem.splitlines()[1:-1])
    first, last = pem.splitlines()[0], pem.splitlines()[-1]
    pasted = [
        pem,
        f"\n  {pem}\n",
        pem.replace("\n", "\\n"),
        pem.replace("\n", "\\r\\n"),
        pem.replace("\n", "\r\n"),
        pem.replace("\n", " "),
        f"{first}{body}{last}",
        f'"{pem}"',
        base64.b64encode(pem.encode()).decode(),
        base64.encodebytes(pem.encode()).decode(),
    ]
    if not pkcs1:
        pasted.append(body)
    for text in pasted:
        token = sign_jwt(asymmetric_key(text), {}, {"a": 1})
        assert jwt.decode(token, RSAKey.import_key(public_pem(rsa_key))).claims == {"a": 1}
        assert as_pem(as_pem(text)) == as_pem(text)


@pytest.mark.parametrize(
    ("curve", "algorithm"),
    [(ec.SECP256R1(), "ES256"), (ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")],
)
def test_curve_says_the_algorithm(curve: ec.EllipticCurve, algorithm: str) -> None:
    native = ec.generate_private_key(curve)
    key = asymmetric_key(private_pem(native))
    assert algorithm_of(key) == algorithm
    token = sign_jwt(key, {"kid": "k", "custom": "x"}, {"a": 1})
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    read = jwt.decode(token, ECKey.import_key(public_pem(native)), registry=registry)
    assert read.claims == {"a": 1}
    assert read.header == {"alg": algorithm, "typ": "JWT", "kid": "k", "custom": "x"}


def test_ed25519_signs_too() -> None:
    native = ed25519.Ed25519PrivateKey.generate()
    pem = native.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    key = asymmetric_key(pem)
    assert sign_jwt(key, {}, {"a": 1}).count(".") == 2


@pytest.mark.parametrize(
    ("secret", "encoding", "raw"),
    [
        ("hunter2", "utf8", b"hunter2"),
        ("68756e74657232", "hex", b"hunter2"),
        ("aHVudGVyMg==", "base64", b"hunter2"),
    ],
)
def test_shared_secret_is_read_as_it_is_written(secret: str, encoding: str, raw: bytes) -> None:
    key = hmac_key(secret, encoding)
    assert key.raw_value == raw
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reader = OctKey.import_key(raw)
    assert jwt.decode(sign_jwt(key, {}, {"a": 1}), reader).claims == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "aHVudGVyMg==",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nhunter2\n"
        "-----END RSA PRIVATE KEY-----",
    ],
)
def test_what_is_no_key_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(TokenError) as raised:
        asymmetric_key(text)
    assert (raised.value.code, raised.value.lasting) == ("invalid_credentials", True)
    assert "hunter2" not in raised.value.message
    assert raised.value.__cause__ is None


def test_public_key_is_no_private_key(rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(TokenError):
        asymmetric_key(public_pem(rsa_key))


@pytest.mark.parametrize(("secret", "encoding"), [("", "utf8"), ("xyz", "hex"), ("?", "base64")])
def test_shared_secret_that_is_not_written_so_is_refused(secret: str, encoding: str) -> None:
    with pytest.raises(TokenError) as raised:
        hmac_key(secret, encoding)
    assert raised.value.code == "invalid_credentials"


def test_algorithm_that_does_not_fit_the_key_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    key = asymmetric_key(private_pem(rsa_key))
    for algorithm in ("ES256", "HS256", "none", "ROT13"):
        with pytest.raises(TokenError):
            sign_jwt(key, {"alg": algorithm}, {})
