"""What a connection authenticates with.

Each kind is a model of its own in the union `Credentials`, told apart by `type`. Secrets never
stand in a `repr`, in a JSON dump or in a validation error; `reveal_credentials` is the one way
to read them, for encrypted storage and for callers that may see them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    TypeAdapter,
    ValidationError,
)

from perdure.errors import FieldError, InvalidInputError

__all__ = [
    "ApiKeyCredentials",
    "BasicCredentials",
    "Credentials",
    "NoCredentials",
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


Credentials = Annotated[
    ApiKeyCredentials | BasicCredentials | NoCredentials, Field(discriminator="type")
]
"""Credentials of any kind."""

_ADAPTER: TypeAdapter[ApiKeyCredentials | BasicCredentials | NoCredentials] = TypeAdapter(
    Credentials
)


def parse_credentials(
    value: Mapping[str, Any], *, path: Sequence[str | int] = ("credentials",)
) -> Credentials:
    """Read credentials as callers and the store write them.

    Args:
        value: `type` and the fields of that type; `api_key` and `apiKey` mean the same.
        path: Where `value` stands in the request, for the errors.

    Raises:
        InvalidInputError: If the type is unknown or a field is missing. No value is quoted.
    """
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    raise InvalidInputError(
        "The credentials are not complete: see `errors` for the fields to mend.",
        errors=[
            FieldError(code=entry["type"], message=entry["msg"], path=(*path, *entry["loc"]))
            for entry in found
        ],
    )


def reveal_credentials(credentials: Credentials) -> dict[str, JsonValue]:
    """Return the credentials with their secrets readable, in the JSON shape of the API."""
    return {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in credentials.model_dump(by_alias=True).items()
    }


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
