"""Where the credentials of a new connection come from, without standing in the shell's history.

In this order: a file (or standard input), flags and the environment variables of the same meaning,
and where a person sits at the terminal a hidden prompt. A flag's value `-` asks for the prompt too,
or for a line of standard input where there is no terminal.
"""

from __future__ import annotations

import getpass
import sys
from typing import Any, Literal

from perdure.app.cli.errors import UsageError
from perdure.app.cli.options import json_value

__all__ = ["read_credentials"]

_FIELDS = {"API_KEY": ("api_key",), "BASIC": ("username", "password"), "NONE": ()}


def read_credentials(
    *,
    kind: Literal["api-key", "basic", "none"] | None,
    api_key: str | None,
    username: str | None,
    password: str | None,
    file: str | None,
) -> dict[str, Any]:
    """Return the credentials of a connection as the API takes them.

    Args:
        kind: What they are; None for what is given.
        api_key: The key, or `-`.
        username: The user's name.
        password: The password, or `-`.
        file: Path of a JSON file, or `-` for standard input.

    Raises:
        UsageError: What is given does not make credentials of one kind.
    """
    if file is not None:
        content = json_value(file if file == "-" else f"@{file}", "--credentials-file")
        if not isinstance(content, dict) or not isinstance(content.get("type"), str):
            msg = "--credentials-file must hold an object with a type, such as API_KEY"
            hint = 'for example {"type": "API_KEY", "api_key": "..."}'
            raise UsageError(msg, hint=hint)
        return content
    given = {"api_key": api_key, "username": username, "password": password}
    type_ = kind.upper().replace("-", "_") if kind else _type_of(given)
    return {"type": type_} | {
        name: _secret(given[name], name, hidden=name != "username") for name in _FIELDS[type_]
    }


def _type_of(given: dict[str, str | None]) -> str:
    basic = given["username"] is not None or given["password"] is not None
    if basic and given["api_key"] is not None:
        msg = "An API key and a user name are given; a connection has one kind of credentials"
        hint = "say which with --auth api-key or --auth basic"
        raise UsageError(msg, hint=hint)
    if basic:
        return "BASIC"
    if given["api_key"] is None and not sys.stdin.isatty():
        msg = "No credentials are given"
        hint = (
            "--auth none if the provider takes none; else see `perdure connections create --help`"
        )
        raise UsageError(msg, hint=hint)
    return "API_KEY"


def _secret(value: str | None, name: str, *, hidden: bool) -> str:
    if value not in {None, "-"}:
        return str(value)
    label = name.replace("_", " ").capitalize()
    if sys.stdin.isatty():
        entered = getpass.getpass(f"{label}: ") if hidden else input(f"{label}: ")
    elif value == "-":
        entered = sys.stdin.readline().rstrip("\r\n")
    else:
        entered = ""
    if not entered:
        msg = f"{label} is missing"
        raise UsageError(msg, hint=f"give --{name.replace('_', '-')}, or - for standard input")
    return entered
