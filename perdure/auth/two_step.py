"""TWO_STEP: a token that the provider gives for inputs of its own, in one request or several."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import JsonValue

from perdure.auth.answers import Granted, expiry, text_at
from perdure.auth.endpoint import TokenRequest, refusal
from perdure.auth.errors import TokenError
from perdure.auth.own_tokens import assertion
from perdure.auth.target import AuthTarget, filled_url
from perdure.connections.credentials import TwoStepCredentials, reveal_credentials
from perdure.connections.interpolation import TemplateVariables, interpolate, interpolate_json
from perdure.providers.provider import AuthMode, Provider
from perdure.providers.tokens import TokenStep
from perdure.proxy.redaction import Redactor

__all__ = ["can_refresh", "granted", "refresh_request", "step_request", "step_variables", "steps"]


def steps(provider: Provider) -> tuple[TokenStep, ...]:
    """Return the requests that lead to a token, in order.

    Raises:
        TokenError: Lasting, if the entry has none.
    """
    url = provider.token_url_for(AuthMode.TWO_STEP)
    if url is None or provider.token_response is None:
        raise TokenError(
            f"The entry of the provider {provider.name!r} has no token_url and token_response.",
            lasting=True,
            code="incomplete_provider",
        )
    first = TokenStep(
        token_url=url,
        token_request_method=provider.token_request_method,
        token_params=provider.token_params,
        token_headers=provider.token_headers,
        body_format=provider.body_format,
    )
    return first, *provider.additional_steps


def step_variables(
    target: AuthTarget, credentials: TwoStepCredentials, answers: list[JsonValue], now: datetime
) -> TemplateVariables:
    """Return what the templates of the next request may name.

    Raises:
        TokenError: Lasting, if the entry asks for an assertion that cannot be made.
    """
    signed = assertion(target, credentials, now)
    further: dict[str, JsonValue] = {} if signed is None else {"assertion": signed}
    return target.variables(credentials, steps=answers, now=now, further=further)


def step_request(target: AuthTarget, step: TokenStep, variables: TemplateVariables) -> TokenRequest:
    """Return one of the requests.

    Raises:
        TokenError: Lasting, if the connection lacks something of its address.
    """
    provider = target.provider
    return TokenRequest(
        url=filled_url(step.token_url, target, variables, "token_url"),
        params=_params(step.token_params, variables),
        method=step.token_request_method or "POST",
        headers=_headers(step.token_headers, variables),
        body_format=step.body_format or provider.body_format or "json",
        skip_encode=provider.token_url_skip_encode,
    )


def can_refresh(provider: Provider, credentials: TwoStepCredentials) -> bool:
    """Return whether there is a shorter way to the next token than from the beginning."""
    return credentials.refresh_token is not None and provider.refresh_token_params is not None


def refresh_request(
    target: AuthTarget, credentials: TwoStepCredentials, now: datetime
) -> TokenRequest:
    """Return the request that refreshes a token.

    Raises:
        TokenError: Lasting, if the entry or the connection lacks something.
    """
    provider = target.provider
    variables = step_variables(target, credentials, [], now)
    url = provider.refresh_url or provider.token_url_for(AuthMode.TWO_STEP)
    return TokenRequest(
        url=filled_url(url, target, variables, "refresh_url"),
        params=_params(provider.refresh_token_params or {}, variables),
        method=provider.token_request_method or "POST",
        headers=_headers(provider.refresh_token_headers, variables),
        body_format=provider.body_format or "json",
        skip_encode=provider.token_url_skip_encode,
    )


def granted(
    provider: Provider, before: TwoStepCredentials, answer: JsonValue, now: datetime
) -> TwoStepCredentials:
    """Return the credentials after the last answer.

    Args:
        provider: Says where what stands.
        before: The credentials so far; their refresh token stays where there is no new one.
        answer: The decoded answer.
        now: When it came.

    Raises:
        TokenError: If there is no token in it.
    """
    found = _found(provider, answer, now)
    changed: dict[str, object] = {
        "token": found.token,
        "expires_at": found.expires_at,
        "raw": found.raw,
    }
    if found.refresh_token:
        changed["refresh_token"] = found.refresh_token
    return TwoStepCredentials.model_validate({**reveal_credentials(before), **changed})


def _found(provider: Provider, answer: JsonValue, now: datetime) -> Granted:
    where = provider.token_response
    token = text_at(answer, where.token) if where else None
    if where is None or token is None:
        raise refusal(provider.display_name, answer, Redactor())
    expires_at = None
    if where.token_expiration:
        stated = text_at(answer, where.token_expiration)
        expires_at = expiry(stated, where.token_expiration_strategy, now)
    if expires_at is None and provider.token_expires_in_ms:
        expires_at = now + timedelta(milliseconds=provider.token_expires_in_ms)
    refresh = text_at(answer, where.refresh_token) if where.refresh_token else None
    raw: dict[str, JsonValue] = answer if isinstance(answer, dict) else {"response": answer}
    return Granted(token=token, refresh_token=refresh, expires_at=expires_at, raw=raw)


def _params(
    templates: Mapping[str, JsonValue], variables: TemplateVariables
) -> dict[str, JsonValue]:
    filled = interpolate_json(dict(templates), variables)
    return filled if isinstance(filled, dict) else {}


def _headers(templates: Mapping[str, str], variables: TemplateVariables) -> dict[str, str]:
    filled = {name: interpolate(template, variables) for name, template in templates.items()}
    return {name: text for name, text in filled.items() if text is not None}
