"""An OAuth 2 authorization server: oauthlib's server side over a local HTTP server.

It checks the client (by header, by body or by a signed assertion), the code, PKCE, the redirect
URI and the refresh token, and gives each refresh token once.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from oauthlib.oauth2 import RequestValidator, Server
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class OAuth2Server:
    """Gives tokens.

    Attributes:
        requests: Every request to the token endpoint: headers and what it carried.
        expires_in: Seconds that tokens are valid.
        rotates: Whether a refresh gives a new refresh token and ends the old one.
    """

    def __init__(self, server: HTTPServer, client_id: str, client_secret: str) -> None:
        self.server = server
        self.client_id = client_id
        self.client_secret = client_secret
        self.client_key: RSAKey | ECKey | None = None
        self.requests: list[tuple[dict[str, str], dict[str, str]]] = []
        self.expires_in = 3600
        self.rotates = True
        self.issued: set[str] = set()
        self.lock = threading.Lock()
        self._validator = _Validator(self)
        self._server = Server(self._validator, token_expires_in=lambda _: self.expires_in)
        server.expect_request("/token").respond_with_handler(self._token)

    @property
    def token_url(self) -> str:
        return self.server.url_for("/token")

    @property
    def authorization_url(self) -> str:
        return self.server.url_for("/authorize")

    def consent(self, url: str) -> dict[str, str]:
        """Do what a person does who says yes; return the query of the callback."""
        headers, _, status = self._server.create_authorization_response(
            # oauthlib wants TLS; it never goes over a wire here.
            url.replace("http://", "https://"),
            credentials={"user": "ada"},
            scopes=(parse_qs(urlsplit(url).query).get("scope") or [""])[0].split(),
        )
        assert status == 302
        query = dict(parse_qsl(urlsplit(headers["Location"]).query))
        assert "error" not in query, query
        return query

    def _token(self, request: Request) -> Response:
        body = request.get_data(as_text=True)
        if request.is_json:
            body = urlencode(json.loads(body))
        elif request.args:
            body = request.query_string.decode()
        self.requests.append((dict(request.headers), dict(parse_qsl(body, keep_blank_values=True))))
        with self.lock:
            headers, answer, status = self._server.create_token_response(
                request.url.replace("http://", "https://").partition("?")[0],
                "POST",
                body,
                {
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Authorization": request.headers.get("Authorization", ""),
                },
            )
        return Response(answer, status, headers)


class _Validator(RequestValidator):
    def __init__(self, server: OAuth2Server) -> None:
        self._server = server
        self._codes: dict[str, Any] = {}
        self._refresh_tokens: set[str] = set()

    # The client.

    def _is_client(self, client_id: str | None) -> bool:
        return client_id == self._server.client_id

    def _let_in(self, request: Any) -> bool:
        request.client = SimpleNamespace(client_id=self._server.client_id)
        return True

    def validate_client_id(self, client_id, request, *args, **kwargs):
        return self._is_client(client_id) and self._let_in(request)

    def client_authentication_required(self, request, *args, **kwargs):
        return True

    def authenticate_client(self, request, *args, **kwargs):
        kind, _, encoded = request.headers.get("Authorization", "").partition(" ")
        sent = dict(request.decoded_body)
        if sent.get("client_assertion_type") == ASSERTION:
            return self._signed(sent["client_assertion"]) and self._let_in(request)
        if kind == "Basic":
            # As the specification has it: the client is shown in one way only.
            if request.client_secret:
                return False
            client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
        else:
            client_id, secret = request.client_id, request.client_secret
        right = secrets.compare_digest(secret or "", self._server.client_secret)
        return self._is_client(client_id) and right and self._let_in(request)

    def authenticate_client_id(self, client_id, request, *args, **kwargs):
        return False

    def _signed(self, assertion: str) -> bool:
        assert self._server.client_key is not None
        try:
            claims = jwt.decode(assertion, self._server.client_key).claims
            jwt.JWTClaimsRegistry(
                iss={"essential": True, "value": self._server.client_id},
                sub={"essential": True, "value": self._server.client_id},
                aud={"essential": True, "value": self._server.token_url},
                exp={"essential": True},
                jti={"essential": True},
            ).validate(claims)
        except JoseError:
            return False
        return True

    # Consent.

    def validate_redirect_uri(self, client_id, redirect_uri, request, *args, **kwargs):
        return redirect_uri.startswith("https://perdure.test/")

    def validate_response_type(self, client_id, response_type, client, request, *args, **kwargs):
        return response_type == "code"

    def validate_scopes(self, client_id, scopes, client, request, *args, **kwargs):
        return True

    def is_pkce_required(self, client_id, request):
        return False

    def save_authorization_code(self, client_id, code, request, *args, **kwargs):
        self._codes[code["code"]] = request

    # Codes and tokens.

    def get_code_challenge(self, code, request):
        return self._codes[code].code_challenge

    def get_code_challenge_method(self, code, request):
        return self._codes[code].code_challenge_method

    def validate_code(self, client_id, code, client, request, *args, **kwargs):
        if code not in self._codes:
            return False
        request.user, request.scopes = "ada", self._codes[code].scopes
        return True

    def confirm_redirect_uri(self, client_id, code, redirect_uri, client, request, *args, **kwargs):
        return redirect_uri == self._codes[code].redirect_uri

    def invalidate_authorization_code(self, client_id, code, request, *args, **kwargs):
        del self._codes[code]

    def validate_grant_type(self, client_id, grant_type, client, request, *args, **kwargs):
        return grant_type in {"authorization_code", "refresh_token", "client_credentials"}

    def get_default_scopes(self, client_id, request, *args, **kwargs):
        return []

    def get_original_scopes(self, refresh_token, request, *args, **kwargs):
        return []

    def save_bearer_token(self, token, request, *args, **kwargs):
        self._server.issued.add(token["access_token"])
        if "refresh_token" in token:
            self._refresh_tokens.add(token["refresh_token"])

    def rotate_refresh_token(self, request):
        return self._server.rotates

    def validate_refresh_token(self, refresh_token, client, request, *args, **kwargs):
        if refresh_token not in self._refresh_tokens:
            return False
        if self._server.rotates:
            self._refresh_tokens.discard(refresh_token)
        request.user = "ada"
        return True
