"""What a connection authenticates with.

Each kind is a model of its own in the union `Credentials`, told apart by `type`. Secrets never
stand in a `repr`, in a JSON dump or in a validation error; `reveal_credentials` is the one way
to read them, for encrypted storage and for callers that may see them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    Secret,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from perdure.errors import FieldError, InvalidInputError

__all__ = [
    "ApiKeyCredentials",
    "AppCredentials",
    "BasicCredentials",
    "ClientOverride",
    "Credentials",
    "JwtCredentials",
    "NoCredentials",
    "OAuth1Credentials",
    "OAuth2ClientCredentials",
    "OAuth2Credentials",
    "SignatureCredentials",
    "TbaCredentials",
    "TwoStepCredentials",
    "access_token_of",
    "expires_at_of",
    "parse_credentials",
    "reveal_credentials",
    "token_of",
]


class _Credentials(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )


def _strip(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_Text = Annotated[SecretStr, BeforeValidator(_strip), Field(min_length=1)]
_OptionalText = Annotated[_Text | None, BeforeValidator(_blank_is_none)]
_Moment = Annotated[
    Annotated[datetime, AfterValidator(_in_utc)] | None, BeforeValidator(_blank_is_none)
]
"""ISO 8601, epoch seconds or epoch milliseconds; without an offset it is UTC."""

_Object = Secret[dict[str, JsonValue]]


class ApiKeyCredentials(_Credentials):
    """One key; where it goes is said by the provider's headers and query.

    Attributes:
        api_key: The key, without the white space that pasting adds. `apiKey` in JSON.
    """

    type: Literal["API_KEY"] = "API_KEY"
    api_key: Annotated[SecretStr, BeforeValidator(_strip)] = Field(alias="apiKey", min_length=1)


class BasicCredentials(_Credentials):
    """User name and password of HTTP Basic; some providers take a key in one of the two.

    Attributes:
        username: Kept out of `repr`, because it may be a key.
        password: May be empty.
    """

    type: Literal["BASIC"] = "BASIC"
    username: str = Field(repr=False)
    password: SecretStr = SecretStr("")


class NoCredentials(_Credentials):
    """For APIs that are open to everybody."""

    type: Literal["NONE"] = "NONE"


class ClientOverride(_Credentials):
    """A client that a connection brings along instead of the integration's.

    Attributes:
        client_id: Its id.
        client_secret: Its secret.
    """

    client_id: str | None = None
    client_secret: SecretStr | None = None


class OAuth2Credentials(_Credentials):
    """What the authorization code flow gives.

    Attributes:
        access_token: What requests carry.
        refresh_token: Gets the next access token, None where the provider gave none.
        expires_at: When the access token ends, None where it does not or nobody knows.
        raw: The provider's answer in full.
        config_override: The client that the tokens belong to, None for the integration's.
    """

    type: Literal["OAUTH2"] = "OAUTH2"
    access_token: _Text
    refresh_token: _OptionalText = None
    expires_at: _Moment = None
    raw: _Object | None = None
    config_override: ClientOverride | None = None


class OAuth2ClientCredentials(_Credentials):
    """A client of the connection's own, which gets tokens for itself.

    Attributes:
        client_id: Its id.
        client_secret: Its secret; may be empty where `client_private_key` takes its place.
        client_certificate: PEM, for providers that ask for one.
        client_private_key: PEM; signs who the client is where the provider asks for that.
        token: What requests carry, None until it was got.
        expires_at: When the token ends, None where it does not or nobody knows.
        raw: The provider's answer in full.
    """

    type: Literal["OAUTH2_CC"] = "OAUTH2_CC"
    client_id: Annotated[str, BeforeValidator(_strip), Field(min_length=1)]
    client_secret: Annotated[SecretStr, BeforeValidator(_strip)] = SecretStr("")
    client_certificate: _OptionalText = None
    client_private_key: _OptionalText = None
    token: _OptionalText = None
    expires_at: _Moment = None
    raw: _Object | None = None


class OAuth1Credentials(_Credentials):
    """What requests are signed with, besides the integration's client.

    Attributes:
        oauth_token: Goes along with each request.
        oauth_token_secret: Signs it.
        raw: The provider's answer in full.
    """

    type: Literal["OAUTH1"] = "OAUTH1"
    oauth_token: _Text
    oauth_token_secret: Annotated[SecretStr, BeforeValidator(_strip)]
    raw: _Object | None = None


class TbaCredentials(_Credentials):
    """Token-based authentication: OAuth 1 without its flow, with a token made by hand.

    Attributes:
        token_id: Goes along with each request.
        token_secret: Signs it.
        config_override: The client that the token belongs to, None for the integration's.
    """

    type: Literal["TBA"] = "TBA"
    token_id: _Text
    token_secret: _Text
    config_override: ClientOverride | None = None


class _WithInputs(_Credentials):
    """Credentials whose fields the provider entry names.

    Attributes:
        inputs: Values of the entry's `credentials` fields. In JSON they stand beside `type`.
    """

    inputs: _Object = Field(default_factory=lambda: Secret[dict[str, JsonValue]]({}))

    @model_validator(mode="before")
    @classmethod
    def _gather_inputs(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        known = {name: given for name, given in value.items() if name in cls.model_fields}
        others = {name: given for name, given in value.items() if name not in known}
        nested = known.get("inputs")
        if isinstance(nested, Secret):
            nested = nested.get_secret_value()
        return {**known, "inputs": {**(nested if isinstance(nested, Mapping) else {}), **others}}


class JwtCredentials(_WithInputs):
    """A key that signs tokens of our own making.

    Attributes:
        token: What requests carry, None until it was made.
        expires_at: When the token ends.
    """

    type: Literal["JWT"] = "JWT"
    token: _OptionalText = None
    expires_at: _Moment = None


class TwoStepCredentials(_WithInputs):
    """Inputs that the provider gives a token for.

    Attributes:
        token: What requests carry, None until it was got.
        refresh_token: Gets the next token, None where the provider gave none.
        expires_at: When the token ends, None where it does not or nobody knows.
        raw: The provider's last answer in full.
    """

    type: Literal["TWO_STEP"] = "TWO_STEP"
    token: _OptionalText = None
    refresh_token: _OptionalText = None
    expires_at: _Moment = None
    raw: _Object | None = None


class AppCredentials(_Credentials):
    """One installation of an app, such as a GitHub app; the integration holds the app's key.

    Attributes:
        installation_id: The installation.
        app_id: The app, None for the integration's.
        access_token: What requests carry, None until it was got.
        expires_at: When the token ends.
        raw: The provider's answer in full.
    """

    type: Literal["APP"] = "APP"
    installation_id: Annotated[
        str, BeforeValidator(_as_text), BeforeValidator(_strip), Field(min_length=1)
    ]
    app_id: Annotated[str | None, BeforeValidator(_as_text), BeforeValidator(_blank_is_none)] = None
    access_token: _OptionalText = None
    expires_at: _Moment = None
    raw: _Object | None = None


class SignatureCredentials(_Credentials):
    """User name and password that sign a short-lived statement instead of being sent.

    Attributes:
        username: Goes along in clear.
        password: Signs.
        token: The statement that requests carry, None until it was made.
        expires_at: When it ends.
    """

    type: Literal["SIGNATURE"] = "SIGNATURE"
    username: Annotated[str, BeforeValidator(_strip), Field(min_length=1)] = Field(repr=False)
    password: SecretStr = Field(min_length=1)
    token: _OptionalText = None
    expires_at: _Moment = None


_Union: TypeAlias = (
    ApiKeyCredentials
    | AppCredentials
    | BasicCredentials
    | JwtCredentials
    | NoCredentials
    | OAuth1Credentials
    | OAuth2ClientCredentials
    | OAuth2Credentials
    | SignatureCredentials
    | TbaCredentials
    | TwoStepCredentials
)
Credentials = Annotated[_Union, Field(discriminator="type")]
"""Credentials of any kind."""

_ADAPTER: TypeAdapter[_Union] = TypeAdapter(Credentials)


def parse_credentials(
    value: Mapping[str, Any], *, path: Sequence[str | int] = ("credentials",)
) -> Credentials:
    """Read credentials as callers and the store write them.

    Args:
        value: `type` and the fields of that type; `api_key` and `apiKey` mean the same.
        path: Where `value` stands in the request, for the errors.

    Raises:
        InvalidInputError: If the type is unknown, a field is missing, or a text is no valid
            Unicode (`unstorable_text`). No value is quoted.
    """
    _refuse_surrogates(value)
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    raise InvalidInputError(
        "The credentials are not complete: see `errors` for the fields to mend.",
        errors=[
            FieldError(entry["type"], entry["msg"], (*path, *_place(entry["loc"], value)))
            for entry in found
        ],
    )


def reveal_credentials(credentials: Credentials) -> dict[str, JsonValue]:
    """Return the credentials with their secrets readable, in the JSON shape of the API.

    What is not there is left out; moments are ISO 8601 in UTC.
    """
    fields = _revealed(credentials)
    inputs = fields.pop("inputs", None)
    return {**(inputs if isinstance(inputs, dict) else {}), **fields}


def access_token_of(credentials: Credentials) -> str | None:
    """Return the token that requests carry, None where the kind has none or it was not got yet."""
    match credentials:
        case OAuth2Credentials() | AppCredentials():
            token = credentials.access_token
        case (
            OAuth2ClientCredentials()
            | JwtCredentials()
            | TwoStepCredentials()
            | SignatureCredentials()
        ):
            token = credentials.token
        case _:
            return None
    return None if token is None else token.get_secret_value()


def expires_at_of(credentials: Credentials) -> datetime | None:
    """Return when the token ends that requests carry, None where it does not or nobody knows."""
    return getattr(credentials, "expires_at", None)


def token_of(credentials: Mapping[str, Any]) -> str | dict[str, Any]:
    """Return the part of readable credentials that a request is made with.

    Returns:
        The access token for OAUTH2, `oAuthToken` and `oAuthTokenSecret` for OAUTH1, the
        credentials themselves for everything else.
    """
    match credentials:
        case {"type": "OAUTH2", "access_token": str(token)}:
            return token
        case {"type": "OAUTH1", "oauth_token": token, "oauth_token_secret": secret}:
            return {"oAuthToken": token, "oAuthTokenSecret": secret}
        case _:
            return dict(credentials)


def _refuse_surrogates(value: object) -> None:
    """Refuse what could be stored, as it is encrypted, but neither sent nor shown."""
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                msg = "The credentials hold an unpaired surrogate: no request could carry it."
                raise InvalidInputError(msg, code="unstorable_text") from None
        case Mapping():
            for name, item in value.items():
                _refuse_surrogates(name)
                _refuse_surrogates(item)
        case list():
            for item in value:
                _refuse_surrogates(item)


def _place(found: Sequence[str | int], value: Mapping[str, Any]) -> Sequence[str | int]:
    """Return where a field stands in what was sent: without the kind that is looked at first."""
    return found[1:] if found[:1] == (value.get("type"),) else found or ("type",)


def _revealed(model: BaseModel) -> dict[str, JsonValue]:
    revealed: dict[str, JsonValue] = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None:
            continue
        if isinstance(value, SecretStr | Secret):
            value = value.get_secret_value()
        elif isinstance(value, BaseModel):
            value = _revealed(value)
        elif isinstance(value, datetime):
            value = value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        revealed[info.serialization_alias or info.alias or name] = value
    return revealed
