"""Becomes another program after tying it to its parent; run by path, standard library only.

The first argument is a JSON object, the rest is the command. Before the command replaces this
process (the pid stays) it is made known to the guard, by itself, so there is no moment at which it
runs unguarded; on Linux the kernel is asked to signal it when its parent dies; and it is
given the identity it shall have:

    {"kind": "own"}                         as it is
    {"kind": "namespace", "uid", "gid"}     root outside, this account inside a user namespace
    {"kind": "account", "uid", "gid"}       this account, for good

What it creates is readable by its owner only.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

__all__: list[str] = []

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def _libc_call(name: str, *arguments: int) -> None:
    """Call a libc function that Python 3.11 does not wrap.

    Raises:
        OSError: The call failed, or there is no libc to load.
    """
    try:
        import ctypes
    except ImportError as error:
        raise OSError(str(error)) from error
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _enter_namespace(uid: int, gid: int) -> None:
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _libc_call("unshare", _CLONE_NEWUSER)
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny", encoding="ascii")
    (own / "uid_map").write_text(f"{uid} {outer_uid} 1", encoding="ascii")
    (own / "gid_map").write_text(f"{gid} {outer_gid} 1", encoding="ascii")


def _take_identity(identity: dict[str, str | int]) -> None:
    if identity["kind"] == "own":
        return
    uid, gid = int(identity["uid"]), int(identity["gid"])
    if identity["kind"] == "namespace":
        _enter_namespace(uid, gid)
    else:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def _die_with(parent: int, number: int) -> None:
    if sys.platform == "linux":
        # A change of identity clears this, so it comes last. Where it is refused the guard is left.
        try:
            _libc_call("prctl", _PR_SET_PDEATHSIG, number, 0, 0, 0)
        except OSError:
            return
        if os.getppid() != parent:
            sys.exit("the parent process ended while this one was being started")


def _main(terms: str, command: list[str]) -> None:
    settings = json.loads(terms)
    signals = settings["signals"]
    guard = settings["guard"]
    os.write(guard, f"+{os.getpid()} {' '.join(map(str, signals))}\n".encode())
    os.close(guard)
    os.umask(0o077)
    try:
        _take_identity(settings["identity"])
        _die_with(settings["parent"], signals[0])
        os.execvp(command[0], command)  # noqa: S606 - becoming the command is its purpose
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error}")


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2:])
