"""A command's connection to its server: options in, client out.

It exists so that commands import HTTP and settings when they run, not when `--help` is shown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from perdure.app.cli.options import ServerOptions

if TYPE_CHECKING:
    from perdure.app.cli.client import ApiClient

__all__ = ["api"]


@asynccontextmanager
async def api(options: ServerOptions, environment: str = "dev") -> AsyncIterator[ApiClient]:
    """Open a client for the server that the options lead to.

    Raises:
        CliError: There is no server, or no key for it.
    """
    from perdure.app.cli.client import open_client
    from perdure.app.cli.target import find_target

    async with open_client(find_target(options, environment)) as client:
        yield client
