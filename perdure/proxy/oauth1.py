"""OAuth 1.0 (RFC 5849): the signature of a request, by authlib's pieces.

The URL is written out as it goes over the wire before it is signed, so that the provider computes
the same. Form fields are signed too, other bodies are not.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from authlib.oauth1.rfc5849.parameters import prepare_headers
from authlib.oauth1.rfc5849.signature import (
    construct_base_string,
    hmac_sha1_signature,
    plaintext_signature,
    rsa_sha1_signature,
)
from authlib.oauth1.rfc5849.util import escape

from perdure.connections.private_keys import as_pem
from perdure.errors import InvalidInputError
from perdure.proxy.bodies import RequestBody
from perdure.proxy.exchange import OutgoingRequest

__all__ = ["OAuth1Signer"]

_FORM = "application/x-www-form-urlencoded"
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~-._"
_SAFE_IN_QUERY = "/%:@!$&'()*+,;=~-._?"


@dataclass(frozen=True, slots=True)
class OAuth1Signer:
    """Signs requests.

    Attributes:
        consumer_key: Who asks.
        consumer_secret: Signs.
        token: On whose behalf; empty where there is none yet.
        token_secret: Signs too.
        method: `HMAC-SHA1`, `HMAC-SHA256`, `RSA-SHA1` or `PLAINTEXT`.
        private_key: For RSA, as `as_pem` takes it.
        realm: Said in the header where it is set.
        further: More parameters of the protocol, such as `oauth_verifier`.
    """

    consumer_key: str
    consumer_secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    token_secret: str = field(default="", repr=False)
    method: str = "HMAC-SHA1"
    private_key: str = field(default="", repr=False)
    realm: str | None = None
    further: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __call__(self, request: OutgoingRequest) -> OutgoingRequest:
        """Return a request with its signature in the `Authorization` header.

        Raises:
            InvalidInputError: With code `invalid_credentials` if it cannot be signed so.
        """
        url = _as_sent(request.url)
        form: Iterable[tuple[str, str]] = ()
        body = request.body
        if body and (body.content_type or "").partition(";")[0].strip().lower() == _FORM:
            if not isinstance(body, RequestBody):
                msg = "A form is signed as a whole, which this one is too large for."
                raise InvalidInputError(msg, code="request_too_large")
            form = parse_qsl(body.content.decode("utf-8", "replace"), keep_blank_values=True)
        stated = self._stated()
        base = construct_base_string(
            request.method,
            url,
            [
                *parse_qsl(urlsplit(url).query, keep_blank_values=True),
                *form,
                # authlib takes these as they stand in a header.
                *((name, escape(value)) for name, value in stated),
            ],
        )
        stated.append(("oauth_signature", self._signature(base)))
        header = prepare_headers(stated, {}, realm=self.realm)["Authorization"]
        return replace(
            request,
            url=url,
            headers={**request.headers, "authorization": header},
            secret_headers=request.secret_headers | {"authorization"},
        )

    def _stated(self) -> list[tuple[str, str]]:
        stated = {
            "oauth_consumer_key": self.consumer_key,
            "oauth_nonce": secrets.token_hex(16),
            "oauth_signature_method": self.method,
            "oauth_timestamp": str(int(time.time())),
            "oauth_version": "1.0",
            **({"oauth_token": self.token} if self.token else {}),
            **self.further,
        }
        return list(stated.items())

    def _signature(self, base: str) -> str:
        match self.method:
            case "HMAC-SHA1":
                return hmac_sha1_signature(base, self.consumer_secret, self.token_secret)
            case "HMAC-SHA256":
                key = plaintext_signature(self.consumer_secret, self.token_secret)
                digest = hmac.new(key.encode(), base.encode(), hashlib.sha256).digest()
                return base64.b64encode(digest).decode("ascii")
            case "RSA-SHA1":
                try:
                    return rsa_sha1_signature(base, as_pem(self.private_key))
                except (ValueError, TypeError, AttributeError):
                    # Without the cause, whose text may quote the key.
                    raise InvalidInputError(
                        "The integration's private key is not an RSA key in PEM.",
                        code="invalid_credentials",
                    ) from None
            case "PLAINTEXT":
                return plaintext_signature(self.consumer_secret, self.token_secret)
            case _:
                raise InvalidInputError(
                    f"Requests cannot be signed by {self.method!r}.", code="unsupported_auth"
                )


def _as_sent(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(
        parts._replace(
            path=quote(parts.path, safe=_SAFE_IN_PATH),
            query=quote(parts.query, safe=_SAFE_IN_QUERY),
            fragment="",
        )
    )
