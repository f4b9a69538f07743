"""Where the credentials of a new connection come from, without standing in the shell's history.

In this order: a file (or standard input), flags and the environment variables of the same meaning,
and where a person sits at the terminal a hidden prompt. A flag's value `-` asks for the prompt too,
or for a line of standard input where there is no terminal.
"""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import json_value, key_values, text_value

__all__ = ["NO_CREDENTIALS", "CredentialOptions", "read_credentials"]

Auth = Literal[
    "api-key",
    "app",
    "basic",
    "jwt",
    "none",
    "oauth1",
    "oauth2",
    "oauth2-cc",
    "signature",
    "tba",
    "two-step",
]

_FIELDS: dict[str, tuple[str, ...]] = {
    "API_KEY": ("api_key",),
    "APP": ("installation_id",),
    "BASIC": ("username", "password"),
    "JWT": (),
    "NONE": (),
    "OAUTH1": ("oauth_token", "oauth_token_secret"),
    "OAUTH2": ("access_token",),
    "OAUTH2_CC": ("client_id", "client_secret"),
    "SIGNATURE": ("username", "password"),
    "TBA": ("token_id", "token_secret"),
    "TWO_STEP": (),
}
"""What is asked for where it is not given."""

_FURTHER: dict[str, tuple[str, ...]] = {
    "APP": ("app_id",),
    "OAUTH2": ("refresh_token", "expires_at"),
}
_BY_ENTRY = frozenset({"JWT", "TWO_STEP"})
_WITH_CLIENT = frozenset({"OAUTH2", "TBA"})
_IN_CLEAR = frozenset({"username", "client_id", "token_id", "installation_id"})

# What a kind is told by. Beside a token of the first two, a client is the one it belongs to.
_TOLD_BY = (
    ("OAUTH2", ("access_token", "refresh_token", "expires_at")),
    ("TBA", ("token_id", "token_secret")),
    ("OAUTH1", ("oauth_token", "oauth_token_secret")),
    ("APP", ("installation_id", "app_id")),
    ("OAUTH2_CC", ("client_id", "client_secret")),
    ("BASIC", ("username", "password")),
    ("API_KEY", ("api_key",)),
)


def _secret(variable: str) -> Parameter:
    return Parameter(env_var=f"PERDURE_CONNECTION_{variable}", allow_leading_hyphen=True)


_Plain = Annotated[str | None, Parameter(allow_leading_hyphen=True)]


@Parameter(name="*", group=Group("Credentials", sort_key=5))
@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialOptions:
    """What an account authenticates with."""

    auth: Auth | None = None
    """Kind of credentials, where it does not follow from what is given."""

    api_key: Annotated[str | None, _secret("API_KEY")] = None
    """The API key."""

    username: Annotated[str | None, _secret("USERNAME")] = None
    """The user's name."""

    password: Annotated[str | None, _secret("PASSWORD")] = None
    """The password."""

    access_token: Annotated[str | None, _secret("ACCESS_TOKEN")] = None
    """An OAuth 2 token that was granted elsewhere."""

    refresh_token: Annotated[str | None, _secret("REFRESH_TOKEN")] = None
    """What it is renewed with."""

    expires_at: str | None = None
    """When it ends, such as 2026-05-01T12:00:00Z."""

    client_id: Annotated[str | None, _secret("CLIENT_ID")] = None
    """Id of the account's own client; beside a token, of the client that the token belongs to."""

    client_secret: Annotated[str | None, _secret("CLIENT_SECRET")] = None
    """Its secret."""

    oauth_token: Annotated[str | None, _secret("OAUTH_TOKEN")] = None
    """An OAuth 1 token."""

    oauth_token_secret: Annotated[str | None, _secret("OAUTH_TOKEN_SECRET")] = None
    """Its secret."""

    token_id: Annotated[str | None, _secret("TOKEN_ID")] = None
    """A token of token-based authentication."""

    token_secret: Annotated[str | None, _secret("TOKEN_SECRET")] = None
    """Its secret."""

    installation_id: _Plain = None
    """Installation of a GitHub app."""

    app_id: _Plain = None
    """The app, where it is not the integration's."""

    credential: Annotated[list[str] | None, Parameter(negative="")] = None
    """With --auth jwt or two-step, a field that the provider's entry names: NAME=VALUE,
    NAME=@FILE, or NAME=- for standard input; may be repeated."""

    credentials_file: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """JSON file with "type" and the fields of that type; - is standard input."""


NO_CREDENTIALS = CredentialOptions()
"""No option is given."""


def read_credentials(given: CredentialOptions) -> dict[str, Any]:
    """Return the credentials of a connection as the API takes them.

    Raises:
        UsageError: What is given does not make credentials of one kind.
    """
    if given.credentials_file is not None:
        return _from_file(given.credentials_file)
    type_ = given.auth.upper().replace("-", "_") if given.auth else _type_of(given)
    if type_ in _BY_ENTRY:
        return {"type": type_, **_fields_of_entry(given)}
    if given.credential:
        msg = "--credential is for --auth jwt and --auth two-step"
        raise UsageError(msg, hint="`perdure connections create --help` shows what there is")
    credentials = {name: _value(given, name) for name in _FIELDS[type_]}
    for name in _FURTHER.get(type_, ()):
        if getattr(given, name) is not None:
            credentials[name] = _value(given, name)
    if type_ in _WITH_CLIENT and given.client_id is not None:
        client = {name: _value(given, name) for name in ("client_id", "client_secret")}
        return {"type": type_, **credentials, "config_override": client}
    return {"type": type_, **credentials}


def _from_file(file: str) -> dict[str, Any]:
    content = json_value(file if file == "-" else f"@{file}", "--credentials-file")
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        msg = "--credentials-file must hold an object with a type, such as API_KEY"
        hint = 'for example {"type": "API_KEY", "api_key": "..."}'
        raise UsageError(msg, hint=hint)
    return content


def _fields_of_entry(given: CredentialOptions) -> dict[str, str]:
    fields = key_values(given.credential, "--credential")
    if not fields:
        msg = "No credentials are given"
        hint = "give each field as --credential NAME=VALUE; `perdure providers show` names them"
        raise UsageError(msg, hint=hint)
    # The end of a file's last line belongs to no secret.
    return {
        name: text_value(value, f"--credential {name}").rstrip("\r\n")
        for name, value in fields.items()
    }


def _type_of(given: CredentialOptions) -> str:
    told = [
        kind for kind, names in _TOLD_BY if any(getattr(given, name) is not None for name in names)
    ]
    if len(told) > 1 and told[0] in _WITH_CLIENT and told[1:] == ["OAUTH2_CC"]:
        return told[0]
    if len(told) > 1:
        flags = " and ".join(f"--auth {kind.lower().replace('_', '-')}" for kind in told)
        msg = "A connection has one kind of credentials, and several are given"
        raise UsageError(msg, hint=f"say which: {flags} fit")
    if told:
        return told[0]
    if given.credential:
        msg = "--credential does not tell the kind of the credentials"
        raise UsageError(msg, hint="say --auth jwt or --auth two-step")
    if not sys.stdin.isatty():
        msg = "No credentials are given"
        hint = (
            "--auth none if the provider takes none; else see `perdure connections create --help`"
        )
        raise UsageError(msg, hint=hint)
    return "API_KEY"


def _value(given: CredentialOptions, name: str) -> str:
    value: str | None = getattr(given, name)
    if value not in {None, "-"}:
        return str(value)
    label = name.replace("_", " ").capitalize()
    if sys.stdin.isatty():
        is_clear = name in _IN_CLEAR
        entered = input(f"{label}: ") if is_clear else getpass.getpass(f"{label}: ")
    elif value == "-":
        entered = sys.stdin.readline().rstrip("\r\n")
    else:
        entered = ""
    if not entered:
        msg = f"{label} is missing"
        raise UsageError(msg, hint=f"give --{name.replace('_', '-')}, or - for standard input")
    return entered
