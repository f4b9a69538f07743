"""The one door to tokens: whoever needs one asks a `TokenClient`.

It keeps nothing. Whoever calls it sees to it that one connection is refreshed once at a time, and
stores what it returns before it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue

from perdure.auth import oauth1, oauth2, two_step
from perdure.auth.answers import expiry, oauth2_grant, text_at
from perdure.auth.endpoint import TokenEndpoint, TokenRequest, refusal
from perdure.auth.errors import TokenError
from perdure.auth.oauth1 import RequestToken
from perdure.auth.own_tokens import app_jwt, app_request, made_jwt, made_signature
from perdure.auth.target import AuthTarget
from perdure.clock import utcnow
from perdure.connections.client_credentials import ClientCredentials
from perdure.connections.credentials import (
    AppCredentials,
    Credentials,
    JwtCredentials,
    OAuth1Credentials,
    OAuth2ClientCredentials,
    OAuth2Credentials,
    SignatureCredentials,
    TwoStepCredentials,
    reveal_credentials,
)
from perdure.providers.provider import Provider
from perdure.proxy.auth import secrets_of
from perdure.proxy.exchange import OutgoingRequest, RawResponse, Transport
from perdure.proxy.oauth1 import OAuth1Signer
from perdure.proxy.redaction import Redactor

__all__ = [
    "AuthTarget",
    "ClientCredentials",
    "RequestToken",
    "TokenClient",
    "TokenError",
    "can_be_refreshed",
]


def can_be_refreshed(provider: Provider, credentials: Credentials) -> bool:
    """Return whether a new token can be had without the account's owner."""
    match credentials:
        case OAuth2Credentials():
            return credentials.refresh_token is not None
        case (
            OAuth2ClientCredentials()
            | JwtCredentials()
            | TwoStepCredentials()
            | AppCredentials()
            | SignatureCredentials()
        ):
            return credentials.type == provider.auth_mode
        case _:
            return False


class TokenClient:
    """Gets, makes and refreshes tokens.

    Args:
        transport: Carries requests out, guarded.
        clock: Tells the present moment.
    """

    def __init__(self, transport: Transport, *, clock: Callable[[], datetime] = utcnow) -> None:
        self._transport = transport
        self._endpoint = TokenEndpoint(transport)
        self._clock = clock

    async def obtain(self, target: AuthTarget, credentials: Credentials) -> Credentials:
        """Return credentials with a fresh token, got from their inputs.

        Args:
            target: For whom.
            credentials: OAUTH2_CC, JWT, TWO_STEP, APP or SIGNATURE.

        Raises:
            TokenError: No token was got. Lasting also for credentials of other kinds.
        """
        match credentials:
            case OAuth2ClientCredentials():
                request = oauth2.client_credentials_request(target, credentials)
                answer = await self._call(target, request, credentials)
                return oauth2.granted_client(
                    credentials, oauth2_grant(target.provider, answer, self._clock())
                )
            case JwtCredentials():
                return made_jwt(target, credentials, self._clock())
            case SignatureCredentials():
                return made_signature(target, credentials, self._clock())
            case AppCredentials():
                return await self._installation(target, credentials)
            case TwoStepCredentials():
                return await self._by_steps(target, credentials)
            case _:
                raise TokenError(
                    f"Credentials of type {credentials.type} have no token that could be got "
                    "anew; the account has to be connected again.",
                    lasting=True,
                    code="not_refreshable",
                )

    async def refresh(self, target: AuthTarget, credentials: Credentials) -> Credentials:
        """Return credentials with a new token.

        Args:
            target: For whom.
            credentials: OAUTH2 is refreshed by its refresh token, TWO_STEP by its refresh token
                where the provider takes one; all others get a token from their inputs.

        Raises:
            TokenError: No token was got. The credentials may work all the same.
        """
        match credentials:
            case OAuth2Credentials():
                request = oauth2.refresh_request(target, credentials)
                answer = await self._call(target, request, credentials)
                granted = oauth2_grant(target.provider, answer, self._clock())
                return oauth2.refreshed_credentials(credentials, granted)
            case TwoStepCredentials() if two_step.can_refresh(target.provider, credentials):
                try:
                    request = two_step.refresh_request(target, credentials, self._clock())
                    answer = await self._call(target, request, credentials)
                    return two_step.granted(target.provider, credentials, answer, self._clock())
                except TokenError as error:
                    if not error.lasting:
                        raise
                return await self.obtain(target, credentials)
            case _:
                return await self.obtain(target, credentials)

    def app_jwt(self, target: AuthTarget, credentials: AppCredentials) -> str:
        """Return what an app shows who it is with, which is not the token of an installation.

        Raises:
            TokenError: Lasting, if the integration has no app, or its key is no key.
        """
        return app_jwt(target, credentials, self._clock())

    def authorization_url(
        self,
        target: AuthTarget,
        *,
        state: str,
        redirect_uri: str,
        code_challenge: str | None,
        scopes: Sequence[str] | None = None,
        params: Mapping[str, str | None] | None = None,
    ) -> str:
        """Return where people are sent to consent, by OAuth 2, or to install an app.

        Args:
            target: For whom.
            state: Comes back with the code.
            redirect_uri: Where they come back to.
            code_challenge: Of PKCE, by S256; left out where the provider takes none.
            scopes: What is asked for; that of the connection, the integration or the provider if
                None.
            params: Further parameters of the address, over all others; None leaves one out.

        Raises:
            TokenError: Lasting, if the entry has no address or the connection lacks a parameter.
        """
        return oauth2.authorization_url(
            target,
            state=state,
            redirect_uri=redirect_uri,
            code_challenge=code_challenge,
            scopes=scopes,
            params=params,
        )

    async def exchange_code(
        self, target: AuthTarget, *, code: str, redirect_uri: str, code_verifier: str | None
    ) -> tuple[OAuth2Credentials, dict[str, JsonValue]]:
        """Turn the code of a callback into tokens.

        Args:
            target: For whom.
            code: From the callback.
            redirect_uri: The same as at the consent.
            code_verifier: What `code_challenge` was made from.

        Returns:
            The credentials, and the provider's answer in full.

        Raises:
            TokenError: No token was got.
        """
        request = oauth2.code_request(
            target, code=code, redirect_uri=redirect_uri, code_verifier=code_verifier
        )
        secrets = (code, *((code_verifier,) if code_verifier else ()))
        answer = await self._call(target, request, None, secrets)
        granted = oauth2_grant(target.provider, answer, self._clock())
        return oauth2.granted_credentials(granted), granted.raw

    async def request_token(self, target: AuthTarget, callback_url: str) -> RequestToken:
        """Get a temporary token, by OAuth 1.

        Args:
            target: For whom.
            callback_url: Where people come back to, with the state in its query.

        Raises:
            TokenError: No token was got.
        """
        request = oauth1.request_token_request(target)
        signer = oauth1.signer(target, oauth_callback=callback_url)
        return oauth1.granted_request_token(target, await self._signed(target, request, signer))

    def consent_url(
        self,
        target: AuthTarget,
        request_token: RequestToken,
        params: Mapping[str, str | None] | None = None,
    ) -> str:
        """Return where people are sent to consent, by OAuth 1.

        Raises:
            TokenError: Lasting, if the entry has no address or the connection lacks a parameter.
        """
        return oauth1.consent_url(target, request_token, params)

    async def access_token(
        self, target: AuthTarget, request_token: RequestToken, verifier: str
    ) -> OAuth1Credentials:
        """Turn a temporary token into the token proper, by OAuth 1.

        Args:
            target: For whom.
            request_token: What was consented to.
            verifier: `oauth_verifier` of the callback.

        Raises:
            TokenError: No token was got.
        """
        request = oauth1.access_token_request(target)
        signer = oauth1.signer(
            target,
            token=request_token.token,
            token_secret=request_token.secret,
            oauth_verifier=verifier,
        )
        return oauth1.granted(target, await self._signed(target, request, signer))

    async def _installation(
        self, target: AuthTarget, credentials: AppCredentials
    ) -> AppCredentials:
        answer = await self._call(
            target, app_request(target, credentials, self._clock()), credentials
        )
        token = text_at(answer, "token") or text_at(answer, "access_token")
        if token is None or not isinstance(answer, dict):
            raise refusal(target.provider.display_name, answer, Redactor())
        now = self._clock()
        expires_at = expiry(answer.get("expires_at"), "expireAt", now)
        changed = {"access_token": token, "expires_at": expires_at, "raw": answer}
        return AppCredentials.model_validate({**reveal_credentials(credentials), **changed})

    async def _by_steps(
        self, target: AuthTarget, credentials: TwoStepCredentials
    ) -> TwoStepCredentials:
        answers: list[JsonValue] = []
        for step in two_step.steps(target.provider):
            variables = two_step.step_variables(target, credentials, answers, self._clock())
            request = two_step.step_request(target, step, variables)
            answers.append(await self._call(target, request, credentials))
        return two_step.granted(target.provider, credentials, answers[-1], self._clock())

    async def _call(
        self,
        target: AuthTarget,
        request: TokenRequest,
        credentials: Credentials | None,
        secrets: Sequence[str] = (),
    ) -> JsonValue:
        known = () if credentials is None else secrets_of(credentials)
        return await self._endpoint.call(
            request,
            target.provider.display_name,
            (*secrets, *known, *target.client.secrets),
        )

    async def _signed(
        self, target: AuthTarget, request: TokenRequest, signer: OAuth1Signer
    ) -> JsonValue:
        return await TokenEndpoint(_Signing(self._transport, signer)).call(
            request,
            target.provider.display_name,
            (*target.client.secrets, signer.token_secret, *signer.further.values()),
        )


class _Signing:
    """Signs each request before it is carried out."""

    def __init__(self, transport: Transport, signer: OAuth1Signer) -> None:
        self._transport = transport
        self._signer = signer

    async def send(self, request: OutgoingRequest) -> RawResponse:
        """See `Transport`."""
        return await self._transport.send(self._signer(request))
