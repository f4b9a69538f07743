"""`perdure keys`: the keys that encrypt what is secret. Those that open an environment are others.

See `perdure api-keys` for those.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

from cyclopts import App, Parameter

from perdure.app.cli.errors import CliError
from perdure.app.cli.options import DEFAULT_SERVER, OPERATE, AsJson, ServerOptions
from perdure.app.cli.session import api

__all__ = ["app"]

_LOOK_AGAIN_SECONDS = 1.0
_PATIENCE_SECONDS = 24 * 3600

app = App(name="keys", group=OPERATE, help="Encryption keys of the server.")


@app.command
def new() -> None:
    """Print a new key for PERDURE_ENCRYPTION_KEYS; docs/keys.md says how to put it to use."""
    from perdure.crypto.keyring import new_key

    sys.stdout.write(f"{new_key()}\n")


@app.command
async def status(*, as_json: AsJson = False, server: ServerOptions = DEFAULT_SERVER) -> None:
    """Show what is encrypted with which key, how far a rotation is, and what can be retired.

    Args:
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        answer = await client.encryption_keys()
    (render.print_json if as_json else render.encryption_keys)(answer)


@app.command
async def rotate(
    *,
    wait: Annotated[bool, Parameter(negative="--no-wait", show_default=False)] = True,
    as_json: AsJson = False,
    server: ServerOptions = DEFAULT_SERVER,
) -> None:
    """Encrypt everything anew with the first key of PERDURE_ENCRYPTION_KEYS, while all goes on.

    It is a workflow: it goes on when this command, or a worker, is ended.

    Args:
        wait: Whether to wait for its end.
        as_json: Print JSON.
        server: Server and key.
    """
    from perdure.app.cli import render

    async with api(server) as client:
        await client.rotate_encryption_keys()
        answer = await client.encryption_keys()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while wait and not answer["rotation"]["finished_at"]:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                answer = await client.encryption_keys()
                if answer["rotation"]["interrupted"]:
                    msg = "The rotation was ended by force"
                    raise CliError(msg, hint="`perdure keys rotate` does the rest")
    (render.print_json if as_json else render.encryption_keys)(answer)
