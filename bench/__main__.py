"""`python -m bench quick`, or `full`, whole or in pieces."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from typing import Any

BEGAN = time.monotonic()


def main() -> int:
    """Run what the arguments ask for."""
    from bench.full import PIECES, full
    from bench.programs import ProgramError
    from bench.quick import quick

    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("quick", help="under a minute, one line at the end")
    whole = commands.add_parser("full", help="everything; writes bench/results.json")
    whole.add_argument(
        "--only",
        nargs="+",
        choices=PIECES,
        default=PIECES,
        help="measure these pieces, and keep what results.json has of the others",
    )
    told = parser.parse_args()
    try:
        asyncio.run(_ended_well(quick(BEGAN) if told.command == "quick" else full(told.only)))
    except asyncio.CancelledError:
        return 130
    except ProgramError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _ended_well(work: Coroutine[Any, Any, None]) -> None:
    """Do the work; when it is to end early, its processes end with it."""
    doing = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, doing.cancel)
    await doing


if __name__ == "__main__":
    sys.exit(main())
