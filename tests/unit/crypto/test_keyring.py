"""The key ring: what it encrypts, what it refuses, and what it never shows."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.crypto.keyring import DecryptionError, KeyRing, new_key
from perdure.errors import StartupError

OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()
RING = KeyRing.parse(f"{NEW},{OLD}")


@given(plaintext=st.binary(max_size=2000), aad=st.binary(max_size=100))
def test_what_was_encrypted_decrypts(plaintext: bytes, aad: bytes) -> None:
    assert RING.decrypt(RING.encrypt(plaintext, aad=aad), aad=aad) == plaintext


@given(st.data())
def test_a_ciphertext_with_any_byte_changed_is_refused(data: st.DataObject) -> None:
    sealed = bytearray(RING.encrypt(b"secret", aad=b"row 1"))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= data.draw(st.integers(1, 255))

    with pytest.raises(DecryptionError):
        RING.decrypt(bytes(sealed), aad=b"row 1")


@given(st.binary(max_size=80))
def test_bytes_that_are_no_ciphertext_are_refused(garbage: bytes) -> None:
    with pytest.raises(DecryptionError):
        RING.decrypt(garbage, aad=b"")


def test_a_ciphertext_that_was_moved_to_another_row_is_refused() -> None:
    sealed = RING.encrypt(b"secret", aad=b"row 1")

    with pytest.raises(DecryptionError) as caught:
        RING.decrypt(sealed, aad=b"row 2")

    assert caught.value.code == "tampered_ciphertext"


def test_the_first_key_encrypts() -> None:
    sealed = RING.encrypt(b"secret", aad=b"")

    assert KeyRing.parse(NEW).decrypt(sealed, aad=b"") == b"secret"
    assert RING.key_ids == ("new", "old")


def test_a_rotated_key_still_decrypts() -> None:
    sealed = KeyRing.parse(OLD).encrypt(b"secret", aad=b"")

    assert RING.decrypt(sealed, aad=b"") == b"secret"


def test_a_key_that_was_removed_is_named() -> None:
    sealed = KeyRing.parse(OLD).encrypt(b"secret", aad=b"")

    with pytest.raises(DecryptionError) as caught:
        KeyRing.parse(NEW).decrypt(sealed, aad=b"")

    assert caught.value.code == "unknown_encryption_key"
    assert "'old'" in caught.value.message


def test_a_ciphertext_cut_short_is_malformed() -> None:
    sealed = RING.encrypt(b"", aad=b"")

    with pytest.raises(DecryptionError) as caught:
        RING.decrypt(sealed[:-1], aad=b"")

    assert caught.value.code == "malformed_ciphertext"


def test_encrypting_twice_gives_different_ciphertexts() -> None:
    assert RING.encrypt(b"secret", aad=b"") != RING.encrypt(b"secret", aad=b"")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no-separator",
        ":" + base64.b64encode(b"k" * 32).decode(),
        "id:not base64!",
        "id:" + base64.b64encode(b"k" * 31).decode(),
        f"{OLD},{OLD}",
        f"{OLD},",
        "i d:" + base64.b64encode(b"k" * 32).decode(),
    ],
)
def test_an_unusable_ring_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(StartupError) as caught:
        KeyRing.parse(text)

    assert caught.value.code == "invalid_encryption_keys"
    assert base64.b64encode(b"k" * 31).decode() not in caught.value.message
    assert base64.b64encode(b"o" * 32).decode() not in caught.value.message


def test_no_keys_make_no_ring() -> None:
    with pytest.raises(StartupError):
        KeyRing([])


def test_spaces_around_entries_are_allowed() -> None:
    assert KeyRing.parse(f" {NEW} , {OLD}\n").key_ids == ("new", "old")


def test_repr_shows_ids_and_no_key() -> None:
    assert repr(RING) == "KeyRing(new, old)"


def test_a_new_key_is_a_ring_of_its_own() -> None:
    first, second = new_key(), new_key()

    assert first != second
    assert KeyRing.parse(f"{first},{second}").key_ids == (
        first.partition(":")[0],
        second.partition(":")[0],
    )
