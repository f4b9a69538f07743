"""The page of the command line, from the commands themselves."""

from __future__ import annotations

import re

from perdure.app.cli.main import app

__all__ = ["cli_page"]

_HEAD = """# The command line

`perdure COMMAND --help` says the same of one command. Exit codes: 0 it worked, 1 it failed, 2 it
was called wrongly; 10 from `compile`, 11 from `deploy`, 12 from `dryrun`.

Every command takes `--debug`, which shows tracebacks of errors. Those that speak to a server also
take:

| Option | |
| --- | --- |
"""

_SERVER = """
What is not given comes from the project's `.env` (`NANGO_HOSTPORT`, `NANGO_SECRET_KEY_DEV`), then
from the environment, then from a running `perdure dev`.

"""

_OVERVIEW = re.compile(r"# perdure\n.*?(?=\n## perdure )", re.DOTALL)
_SHARED = re.compile(r"\*\*Server\*\*:\n\n(?:\* .*\n)+\n?|\* `--debug`: .*\n")
_EMPTY = re.compile(r"\*\*(?:Parameters|Commands)\*\*:\n\n(?=\n|\*\*|#|\Z)")
_HEADING = re.compile(r"^(#+) perdure (.+)$", re.MULTILINE)


def cli_page() -> str:
    """All commands with their arguments and options."""
    text = app.generate_docs(output_format="markdown", usage_name="perdure")
    # Cyclopts takes how this program was started for a part of the command.
    text = text.replace(" -m docs.reference", "")
    text = _SHARED.sub("", _OVERVIEW.sub("", text))
    text = _EMPTY.sub("", text)
    text = _HEADING.sub(r"\1 `perdure \2`", text)
    text = re.sub(r"\]\(#perdure-(\S+?)\)", lambda m: f"](#perdure-{m[1].replace(':', '')})", text)
    lines = [line.rstrip() for line in text.strip().splitlines()]
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    return _HEAD + _server_rows() + _SERVER + body + "\n"


def _server_rows() -> str:
    text = app["syncs"]["status"].generate_docs(output_format="markdown")
    rows = re.findall(r"^\* (`.+?`): (.*)$", text.partition("**Server**")[2], re.MULTILINE)
    return "".join(f"| {option} | {meaning} |\n" for option, meaning in rows)
