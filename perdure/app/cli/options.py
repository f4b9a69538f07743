"""Options that many commands share, and the forms in which values are given.

A value that may be long or secret can come from elsewhere: `@FILE` is the content of a file, `-` is
standard input.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from perdure.app.cli.errors import UsageError

__all__ = [
    "BUILD",
    "DATA_DIR",
    "DEFAULT_SERVER",
    "OPERATE",
    "USE",
    "AllowDestructive",
    "AsJson",
    "Connection",
    "DryRun",
    "ServerOptions",
    "json_value",
    "key_values",
    "text_value",
]

BUILD = Group("Build integrations", sort_key=1)
"""Commands for whoever writes a project."""

USE = Group("Use them", sort_key=2)
"""Commands for whoever works with what is deployed."""

OPERATE = Group("Run the processes", sort_key=3)
"""Commands for whoever runs a server."""

DATA_DIR = Path(".perdure")
"""Data folder of `perdure dev` where none is named, below the current folder."""

AsJson = Annotated[bool, Parameter(name="--json", negative="")]
"""Whether a program reads the output."""

AllowDestructive = Annotated[bool, Parameter(negative="", show_default=False)]
"""Whether a deploy may lose scripts or records, or change others, without asking."""

DryRun = Annotated[bool, Parameter(negative="", show_default=False)]
"""Whether only to show what would change."""

Connection = Annotated[str, Parameter(name=["--connection", "-c"])]
"""Id of a connection."""


@Parameter(name="*", group=Group("Server", sort_key=10))
@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Which server a command speaks to, and as whom.

    What is not given is taken from the project's `.env` (NANGO_HOSTPORT, NANGO_SECRET_KEY_DEV),
    then from the environment, then from a running `perdure dev`.
    """

    server: str | None = None
    """URL of the server."""

    secret_key: str | None = None
    """Secret key of the environment."""

    project: Path = Path()
    """Project folder, whose `.env` counts."""

    data_dir: Path | None = None
    """Data folder of a running `perdure dev`."""


DEFAULT_SERVER = ServerOptions()
"""No option is given."""


def json_value(text: str, what: str) -> Any:
    """Return the JSON value that an argument stands for.

    Args:
        text: JSON, `@FILE` or `-`.
        what: How to call the argument in a message.

    Raises:
        UsageError: It is no JSON, or the file cannot be read.
    """
    try:
        return json.loads(text_value(text, what))
    except json.JSONDecodeError as error:
        msg = f"{what} is not valid JSON at line {error.lineno}: {error.msg}"
        raise UsageError(msg, hint="write JSON, @FILE, or - for standard input") from None


def key_values(items: list[str] | None, what: str) -> dict[str, str]:
    """Return the mapping that a repeated `KEY=VALUE` option stands for.

    Raises:
        UsageError: One of them has no `=`.
    """
    pairs = {}
    for item in items or ():
        key, separator, value = item.partition("=")
        if not separator or not key:
            msg = f"{what} has no value in it"
            raise UsageError(msg, hint=f"write {what} NAME=VALUE")
        pairs[key] = value
    return pairs


def text_value(text: str, what: str) -> str:
    """Return the text that an argument stands for.

    Args:
        text: The text itself, `@FILE` or `-`.
        what: How to call the argument in a message.

    Raises:
        UsageError: The file cannot be read.
    """
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    file = Path(text[1:])
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        msg = f"{what}: {file} cannot be read: {reason}"
        raise UsageError(msg, hint="@FILE is read from the current folder") from error
