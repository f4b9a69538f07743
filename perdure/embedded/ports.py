"""TCP ports on the loopback address: find out before anything is started whether they are free.

A free port is looked for below those that systems hand out by themselves, to listeners without a
wish and to the near end of every connection: nobody takes it before it is used for the first time,
or while its process is started again.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from perdure.errors import StartupError

__all__ = ["LOOPBACK", "accepts_connections", "choose_ports"]

LOOPBACK = "127.0.0.1"
_FREE_RANGE = range(10_000, 32_000)
_TRIES = 200


def accepts_connections(port: int) -> bool:
    """Say whether something listens on a port of this machine."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def choose_ports(wanted: Mapping[str, int]) -> dict[str, int]:
    """Return a port for each name, all different and all free at this moment.

    Args:
        wanted: Port per option name (`--port`), 0 for any free one.

    Raises:
        StartupError: A port is taken, or not ours to take.
    """
    with ExitStack() as held:
        listeners = {
            option: held.enter_context(_listen(option, port) if port else _listen_anywhere(option))
            for option, port in wanted.items()
        }
        return {option: listener.getsockname()[1] for option, listener in listeners.items()}


def _listen(option: str, port: int) -> socket.socket:
    # On some systems a listener on all addresses does not stop a bind to one address.
    if accepts_connections(port):
        raise _taken(option, port, "it is already in use")
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen(1)
    except OSError as error:
        listener.close()
        refused = isinstance(error, PermissionError)
        reason = "this account may not listen on it" if refused else "it is already in use"
        raise _taken(option, port, reason) from error
    return listener


def _listen_anywhere(option: str) -> socket.socket:
    for _ in range(_TRIES):
        try:
            return _listen(option, secrets.choice(_FREE_RANGE))
        except StartupError:
            continue
    message = f"no free port was found for {option}; choose one"
    raise StartupError(message, code="port_in_use")


def _taken(option: str, port: int, reason: str) -> StartupError:
    message = f"port {port} ({option}) cannot be used: {reason}; choose another, 0 for any free one"
    return StartupError(message, code="port_in_use")
