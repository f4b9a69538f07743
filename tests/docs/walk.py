"""Does what a page says, block by block, and sees whether what it shows is what happens."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from perdure.embedded.ports import choose_ports
from tests.docs.blocks import Block, Command
from tests.docs.terminal import Terminal, matches

__all__ = ["ROOT", "Walk", "free_port"]

ROOT = Path(__file__).parents[2]
_PATIENCE = 90.0
"""Seconds for which a reader looks again at what changes by itself."""
_LOOKS = re.compile(
    r"^perdure (\S+ )?(list|status|show|logs|events)\b|^sort |^curl -s (?!.* -[dX] )", re.DOTALL
)
"""Commands that only look; a reader repeats them until there is something to see."""
_FOREIGN = ("PERDURE_", "NANGO_", "TEMPORAL_", "COLUMNS")


class Walk:
    """A reader with a folder, some terminals and words of the page that stand for others.

    Args:
        folder: An empty folder.
        instead: Words that are replaced wherever they stand, such as the address of an API.
        environment: Variables besides those of this process.
        preamble: Commands that each terminal begins with.
    """

    def __init__(
        self,
        folder: Path,
        instead: Mapping[str, str],
        environment: Mapping[str, str],
        preamble: str = "",
    ) -> None:
        self._folder = folder
        self._instead = instead
        self._preamble = preamble
        own = {n: v for n, v in os.environ.items() if not n.startswith(_FOREIGN)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
        self._environment = {**own, "PATH": path, "PYTHONPATH": str(ROOT), **environment}
        self._terminals: dict[str, Terminal] = {}

    def follow(self, block: Block) -> None:
        """Do what a block says.

        Raises:
            AssertionError: It cannot be done, or something else happens than is shown.
        """
        if block.language != "console":
            self._write(block)
            return
        *commands, last = block.commands()
        for command in commands:
            self._do(block, command)
        if block.title and last.shown:
            self._terminal(block.title).begin(self._said(last.text), self._shown(last))
        else:
            self._do(block, last)

    def run(self, command: str) -> str:
        """Type what the page does not say, in its first terminal; returns what it printed.

        Raises:
            AssertionError: It fails.
        """
        code, output = self._terminal("").run(command)
        assert code == 0, output
        return output

    def end(self) -> None:
        """End all terminals and what runs in them."""
        for terminal in self._terminals.values():
            terminal.end()

    def _terminal(self, title: str) -> Terminal:
        if title not in self._terminals:
            first = next(iter(self._terminals.values()), None)
            folder = self._folder if first is None else first.folder
            self._terminals[title] = Terminal(folder, self._environment, self._preamble)
        return self._terminals[title]

    def _write(self, block: Block) -> None:
        assert block.title, f"{block.place} is neither typed nor a file, and is not marked"
        path = self._terminal("").folder / block.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._said(block.content))

    def _do(self, block: Block, command: Command) -> None:
        terminal = self._terminal(block.title)
        text, shown = self._said(command.text), self._shown(command)
        deadline = time.monotonic() + _PATIENCE
        while True:
            code, output = terminal.run(text)
            good = (code == 0) is (not command.fails) and (not shown or matches(shown, output))
            if good:
                return
            if not _LOOKS.match(text) or time.monotonic() > deadline:
                said = "\n".join(shown) or "(nothing in particular)"
                raise AssertionError(
                    f"{block.page}:{command.line}: $ {text}\nended with {code} and printed\n"
                    f"{output}\nwhere the page shows\n{said}"
                )
            time.sleep(0.2)

    def _said(self, text: str) -> str:
        for word, other in self._instead.items():
            text = text.replace(word, other)
        return text

    def _shown(self, command: Command) -> tuple[str, ...]:
        return tuple(self._said(line) for line in command.shown)


def free_port() -> str:
    """A port that nobody listens at now."""
    return str(choose_ports({"any": 0})["any"])
