"""A shell that is typed into, as a reader of the documentation does."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import psutil

__all__ = ["Terminal", "matches"]

_END = re.compile("\x1e(\\d+)\x1e\n")


class Terminal:
    """One `bash`, whose folder and variables stay from command to command."""

    def __init__(self, folder: Path, environment: Mapping[str, str], preamble: str = "") -> None:
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._output = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if preamble:
            self.run(preamble)

    @property
    def folder(self) -> Path:
        """The folder it stands in now."""
        return Path(f"/proc/{self._shell.pid}/cwd").resolve()

    def run(self, command: str, *, seconds: float = 120) -> tuple[int, str]:
        """Type a command and wait for its end; returns its exit code and what it printed."""
        self._type(command)
        with self._changed:
            if not self._changed.wait_for(lambda: _END.search(self._output), seconds):
                raise AssertionError(f"`{command}` has not ended:\n{self._output}")
        end = _END.search(self._output)
        assert end is not None
        return int(end[1]), self._output[: end.start()]

    def begin(self, command: str, shown: tuple[str, ...], *, seconds: float = 120) -> None:
        """Type a command that stays, and wait until it has printed what is shown."""
        self._type(command)
        pattern = (*shown, "...")
        with self._changed:
            seen = self._changed.wait_for(
                lambda: matches(pattern, self._output) or _END.search(self._output), seconds
            )
            assert seen, f"`{command}` has not printed what is shown:\n{self._output}"
            assert not _END.search(self._output), f"`{command}` has ended:\n{self._output}"

    def end(self) -> None:
        """End it with all that runs in it, which may save its state first."""
        running = psutil.Process(self._shell.pid).children(recursive=True)
        for process in psutil.Process(self._shell.pid).children():
            process.terminate()
        _, alive = psutil.wait_procs(running, timeout=20)
        for process in alive:
            process.kill()
        self._shell.kill()
        self._shell.wait()
        self._reader.join(5)
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        assert self._shell.stdout is not None
        self._shell.stdout.close()

    def _type(self, command: str) -> None:
        self._output = ""
        assert self._shell.stdin is not None
        # Commands read nothing: what stands in the shell's input are the next commands.
        told = "printf '\\036%d\\036\\n' $__code; (exit $__code)"
        self._shell.stdin.write(f"{{ {command}\n}} </dev/null; __code=$?; {told}\n")
        self._shell.stdin.flush()

    def _read(self) -> None:
        assert self._shell.stdout is not None
        while piece := os.read(self._shell.stdout.fileno(), 65_536):
            with self._changed:
                self._output += piece.decode(errors="replace")
                self._changed.notify_all()


def matches(shown: tuple[str, ...], output: str) -> bool:
    """Whether an output is what a page shows.

    A line of `...` stands for any number of lines, `...` within a line for any text. How many
    spaces there are between words does not matter, since widths of columns follow their content.
    """
    lines = [re.escape(_even(line)).replace(r"\.\.\.", ".*?") for line in shown]
    pattern = "".join("(?:.*\n)*?" if line == ".*?" else f"{line}\n" for line in lines)
    text = "".join(f"{_even(line)}\n" for line in output.splitlines())
    return re.fullmatch(pattern, text) is not None


def _even(line: str) -> str:
    return re.sub(r"\s+", " ", line).strip()
