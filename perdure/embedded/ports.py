"""TCP ports on the loopback address: find out before anything is started whether they are free."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack

from perdure.errors import StartupError

__all__ = ["LOOPBACK", "accepts_connections", "choose_ports"]

LOOPBACK = "127.0.0.1"


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
    chosen: dict[str, int] = {}
    with ExitStack() as held:
        for option, port in wanted.items():
            # On some systems a listener on all addresses does not stop a bind to one address.
            if port and accepts_connections(port):
                raise _taken(option, port, "it is already in use")
            listener = held.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((LOOPBACK, port))
                listener.listen(1)
            except PermissionError as error:
                raise _taken(option, port, "this account may not listen on it") from error
            except OSError as error:
                raise _taken(option, port, "it is already in use") from error
            chosen[option] = listener.getsockname()[1]
    return chosen


def _taken(option: str, port: int, reason: str) -> StartupError:
    message = f"port {port} ({option}) cannot be used: {reason}; choose another, 0 for any free one"
    return StartupError(message, code="port_in_use")
