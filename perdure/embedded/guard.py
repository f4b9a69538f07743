"""Ends the children of a process that died without ending them; run by path, standard library only.

Standard input is a pipe whose other end only the watched process (and, for a moment, each child
it starts) holds open. Lines on it:

    +PID SIGNAL...   this child, the leader of its own process group, is to be ended with these
    -PID             it has ended
    ~FOLDER          remove this folder last

End of file means that the watched process is gone, for whatever reason. What is still listed is
then asked to end by its first signal, told by the next, and killed last: 8 seconds at most. The
only argument is the inherited descriptor of the folder lock; emptying the lock file tells the
next instance that this one is on its way out.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

__all__: list[str] = []

_PATIENCE = (5.0, 2.0, 1.0)
"""Seconds to wait after the first, the second and the last signal."""


def _is_alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] != "Z"


def _signal(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _end(children: dict[int, list[int]]) -> None:
    for step, patience in enumerate(_PATIENCE):
        alive = [pid for pid in children if _is_alive(pid)]
        for pid in alive:
            escalation = children[pid] if step < len(_PATIENCE) - 1 else []
            _signal(pid, escalation[step] if step < len(escalation) else signal.SIGKILL)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(_is_alive(pid) for pid in alive):
            time.sleep(0.02)
    for pid in children:
        _signal(pid, signal.SIGKILL)  # whatever a leader left behind in its group


def _main(lock: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    children: dict[int, list[int]] = {}
    folders: list[str] = []
    for line in sys.stdin:
        kind, rest = line[0], line[1:].rstrip("\n")
        if kind == "+":
            pid, *signals = (int(number) for number in rest.split())
            children[pid] = signals
        elif kind == "-":
            children.pop(int(rest), None)
        elif kind == "~":
            folders.append(rest)
    if lock >= 0:
        os.ftruncate(lock, 0)
    _end(children)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
