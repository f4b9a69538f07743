"""An OAuth 1 provider that checks each signature: oauthlib's server side over local HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from oauthlib.oauth1 import RequestValidator, WebApplicationServer
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response


class OAuth1Server:
    """Gives tokens and lets signed requests through below `/api`.

    Attributes:
        passed: The paths with queries that were let through.
        realm: What requests have to name, None for nothing.
    """

    def __init__(self, server: HTTPServer, client_key: str, client_secret: str) -> None:
        self.server = server
        self.validator = Validator(client_key, client_secret)
        self.passed: list[str] = []
        self.realm: str | None = None
        self._server = WebApplicationServer(self.validator)
        server.expect_request("/request").respond_with_handler(self._request_token)
        server.expect_request("/access").respond_with_handler(self._access_token)
        server.expect_request(re.compile("/api/.*")).respond_with_handler(self._resource)

    def url(self, path: str) -> str:
        return self.server.url_for(path)

    def consent(self, url: str) -> dict[str, str]:
        """Do what a person does who says yes; return the query of the callback."""
        headers, _, status = self._server.create_authorization_response(url, realms=["any"])
        assert status == 302
        return dict(parse_qsl(urlsplit(headers["Location"]).query))

    def verifies(self, method: str, url: str, body: str | None, headers: Mapping[str, str]) -> bool:
        """Say whether a request for a resource is rightly signed."""
        valid, request = self._server.validate_protected_resource_request(
            url, method, body, dict(headers), realms=[]
        )
        return valid and (self.realm is None or request.realm == self.realm)

    def _request_token(self, request: Request) -> Response:
        return self._token(self._server.create_request_token_response, request)

    def _access_token(self, request: Request) -> Response:
        return self._token(self._server.create_access_token_response, request)

    def _token(self, create: Any, request: Request) -> Response:
        headers, body, status = create(*_parts(request))
        return Response(body or "", status, headers)

    def _resource(self, request: Request) -> Response:
        uri, method, body, headers = _parts(request)
        if not self.verifies(method, uri, body, headers):
            return Response('{"error": "signature"}', 401, content_type="application/json")
        self.passed.append(request.environ["RAW_URI"])
        return Response(json.dumps({"ok": True, "items": []}), content_type="application/json")


class Validator(RequestValidator):
    """Knows one client and the tokens that it gave."""

    def __init__(self, client_key: str, client_secret: str) -> None:
        super().__init__()
        self._client = (client_key, client_secret)
        self._temporary: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, str] = {}
        self.public_key: str | None = None
        self._nonces: set[tuple[str, str]] = set()

    callbacks = "https://perdure.test/"
    enforce_ssl = False
    dummy_client = "dummy"
    dummy_request_token = "dummy"
    dummy_access_token = "dummy"
    allowed_signature_methods = ("HMAC-SHA1", "HMAC-SHA256", "RSA-SHA1", "PLAINTEXT")

    def check_client_key(self, client_key):
        return True

    def check_request_token(self, request_token):
        return True

    def check_access_token(self, request_token):
        return True

    def check_nonce(self, nonce):
        return bool(nonce)

    def check_verifier(self, verifier):
        return True

    def check_realms(self, realms):
        return True

    def validate_timestamp_and_nonce(self, client_key, timestamp, nonce, request, **kwargs):
        fresh = (timestamp, nonce) not in self._nonces
        self._nonces.add((timestamp, nonce))
        return fresh

    def validate_client_key(self, client_key, request):
        return client_key == self._client[0]

    def get_client_secret(self, client_key, request):
        return self._client[1]

    def get_rsa_key(self, client_key, request):
        return self.public_key

    def get_default_realms(self, client_key, request):
        return []

    def validate_requested_realms(self, client_key, realms, request):
        return True

    def validate_realms(self, client_key, token, request, uri=None, realms=None):
        return True

    def validate_redirect_uri(self, client_key, redirect_uri, request):
        return redirect_uri.startswith(self.callbacks)

    # The temporary token.

    def save_request_token(self, token, request):
        self._temporary[token["oauth_token"]] = {
            "secret": token["oauth_token_secret"],
            "callback": request.redirect_uri,
            "verifier": None,
        }

    def verify_request_token(self, token, request):
        return token in self._temporary

    def get_realms(self, token, request):
        return []

    def get_redirect_uri(self, token, request):
        return self._temporary[token]["callback"]

    def verify_realms(self, token, realms, request):
        return True

    def save_verifier(self, token, verifier, request):
        self._temporary[token]["verifier"] = verifier["oauth_verifier"]

    def validate_request_token(self, client_key, token, request):
        return token in self._temporary

    def get_request_token_secret(self, client_key, token, request):
        return self._temporary.get(token, {}).get("secret", "dummy")

    def validate_verifier(self, client_key, token, verifier, request):
        return verifier is not None and self._temporary[token]["verifier"] == verifier

    def invalidate_request_token(self, client_key, request_token, request):
        del self._temporary[request_token]

    # The token.

    def save_access_token(self, token, request):
        self.tokens[token["oauth_token"]] = token["oauth_token_secret"]

    def validate_access_token(self, client_key, token, request):
        return token in self.tokens

    def get_access_token_secret(self, client_key, token, request):
        return self.tokens.get(token, "dummy")


def _parts(request: Request) -> tuple[str, str, str, dict[str, str]]:
    # As it came over the wire: the signature is over that.
    uri = f"http://{request.host}{request.environ['RAW_URI']}"
    return uri, request.method, request.get_data(as_text=True), dict(request.headers)
