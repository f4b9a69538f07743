"""The secrets that the tests of this process use, and every way in which one may be written.

What the product encrypts or keeps as a hash is learned on its way there, whoever calls; secrets
that go to other processes begin with one of `MARKS`, or are given to `SECRETS.learn`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID

import pytest

from perdure.auth.tokens import TokenClient
from perdure.crypto.keyring import KeyRing
from perdure.db import api_keys, connect_sessions, environments, oauth_states
from perdure.proxy.redaction import is_sensitive_name

__all__ = ["MARKS", "SECRETS", "URL_COLUMNS", "SecretTexts", "learn_from_product", "spellings"]

MARKS = ("key-of-", "hush-hush", "sk-test-", "granted-", "our-client-secret", "wrong-key-of-")
"""Whatever begins with one of these is a secret."""

URL_COLUMNS = ("webhook_settings.primary_url", "webhook_deliveries.url")
"""Where the URL of a receiver is kept, with the token that it may hold."""

MIN_LENGTH = 8
"""Shorter texts turn up by chance."""

_VARIED = 10
"""Keys of fewer different bytes are those of a test that writes them out."""

_MADE_LENGTH = 32
"""Keys and tokens that the product makes, or asks for, are at least so long."""

_PUBLIC_FIELDS = frozenset(
    {
        *("type", "username", "client_id", "client_name", "app_id", "app_link", "installation_id"),
        *("scope", "scopes", "token_type", "expires_at", "expires_in", "issuer", "token_url"),
    }
)

_SECRETS_OF_FLOWS = frozenset({"code_verifier", "request_token", "cookie", "credentials"})


class SecretTexts:
    """Texts that must not be found, and texts that a test showed on purpose."""

    def __init__(self, marks: tuple[str, ...] = MARKS) -> None:
        self._texts: dict[str, str] = dict.fromkeys(marks, "mark")
        self._shown: dict[str, set[str]] = {}

    def learn(self, text: str, origin: str = "test") -> str:
        """Note a secret; returns it.

        Args:
            text: One of fewer than `MIN_LENGTH` characters is let go.
            origin: Where it is from, for who reads that it was found.
        """
        if len(text) >= MIN_LENGTH:
            self._texts.setdefault(text, origin)
        return text

    def learn_fields(self, content: Any, origin: str) -> None:
        """Note the secrets in credentials, however deep they are."""
        if isinstance(content, str):
            self.learn(content, origin)
        elif isinstance(content, list):
            for inner in content:
                self.learn_fields(inner, origin)
        elif isinstance(content, Mapping):
            for name, value in content.items():
                if name == "raw" and isinstance(value, Mapping):
                    # What a provider answered holds all sorts of things.
                    tokens = {key: value[key] for key in value if is_sensitive_name(key)}
                    self.learn_fields(tokens, f"{origin}.raw")
                elif name not in _PUBLIC_FIELDS:
                    self.learn_fields(value, f"{origin}.{name}")

    def shown(self, text: str, *places: str) -> str:
        """Note that a test shows a secret on purpose; returns it.

        Args:
            text: The secret.
            places: Columns, as `records.payload`, where just this text is let pass.
        """
        self._shown.setdefault(text, set()).update(places)
        return self.learn(text)

    def may_stand(self, text: str, place: str) -> bool:
        """Return whether a secret may stand in a place."""
        return place in self._shown.get(text, ())

    def origin(self, text: str) -> str:
        """Where a secret is from."""
        return self._texts[text]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._texts))

    def __len__(self) -> int:
        return len(self._texts)


SECRETS = SecretTexts()
"""Those of this process."""


def spellings(text: str) -> set[bytes]:
    """Return how a text may stand in bytes: plain, quoted, escaped, in hexadecimal, in base64."""
    plain = text.encode("utf-8", "surrogatepass")
    found = {
        plain,
        plain.hex().encode(),
        plain.hex().upper().encode(),
        repr(plain)[2:-1].encode(),
        *(
            way.encode("utf-8", "surrogatepass")
            for way in (
                repr(text)[1:-1],
                json.dumps(text)[1:-1],
                json.dumps(text, ensure_ascii=False)[1:-1],
                json.dumps(json.dumps(text))[3:-3],
                quote(plain),
                quote(plain, safe=""),
                quote_plus(plain),
                escape(text),
            )
        ),
        *_in_base64(plain),
    }
    with suppress(ValueError):
        found.add(UUID(text).bytes)
    return found


def _in_base64(plain: bytes) -> Iterator[bytes]:
    """Yield what is the same in the base64 of all texts that hold this one."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + plain)
        certain = encoded[-(-8 * before // 6) : 8 * (before + len(plain)) // 6]
        yield certain
        yield certain.replace(b"+", b"-").replace(b"/", b"_")


def learn_from_product(secrets: SecretTexts, patch: pytest.MonkeyPatch) -> None:
    """Have all that the product encrypts as a secret, or hashes as a key, noted on its way."""
    encrypt = KeyRing.encrypt

    def encrypting(ring: KeyRing, plaintext: bytes, *, aad: bytes) -> bytes:
        _learn_plaintext(secrets, plaintext, aad)
        return encrypt(ring, plaintext, aad=aad)

    opened = KeyRing.__init__

    def opening(ring: KeyRing, keys: Sequence[tuple[str, bytes]]) -> None:
        for _, key in keys:
            if len(set(key)) > _VARIED:
                secrets.learn(base64.b64encode(key).decode(), "key ring")
        opened(ring, keys)

    exchange_code = TokenClient.exchange_code

    def exchanging(client: TokenClient, target: Any, *, code: str, **more: Any) -> Any:
        return exchange_code(client, target, code=secrets.learn(code, "code"), **more)

    def hashing(function: Callable[[str], bytes], origin: str) -> Callable[[str], bytes]:
        def learning(text: str) -> bytes:
            # Whatever is presented is hashed, too, such as what a fuzzer makes up.
            if len(text) >= _MADE_LENGTH and len(set(text)) >= _VARIED:
                secrets.learn(text, origin)
            return function(text)

        return learning

    patch.setattr(KeyRing, "__init__", opening)
    patch.setattr(KeyRing, "encrypt", encrypting)
    patch.setattr(TokenClient, "exchange_code", exchanging)
    patch.setattr(environments, "key_hash", hashing(environments.key_hash, "API key"))
    patch.setattr(api_keys, "key_hash", environments.key_hash)
    patch.setattr(connect_sessions, "_hash", hashing(connect_sessions._hash, "session token"))
    patch.setattr(oauth_states, "_hash", hashing(oauth_states._hash, "state"))


def _learn_plaintext(secrets: SecretTexts, plaintext: bytes, aad: bytes) -> None:
    match aad.decode("utf-8", "replace").split("/")[:2]:
        case ["perdure", "connection" | "integration" as kind]:
            secrets.learn_fields(json.loads(plaintext), f"{kind} credentials")
        case ["perdure", "variable" | "webhook-signing-key" as kind]:
            secrets.learn(plaintext.decode("utf-8", "surrogatepass"), kind)
        case ["perdure", "oauth-state"]:
            try:
                flow = json.loads(plaintext)
            except (TypeError, ValueError):
                return  # what a property test has made up under our name
            if not isinstance(flow, dict):
                return
            secrets.learn_fields(
                {key: flow[key] for key in flow if key in _SECRETS_OF_FLOWS}, "oauth state"
            )
        case _:
            pass
