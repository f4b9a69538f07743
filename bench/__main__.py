"""`python -m bench quick`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

BEGAN = time.monotonic()


def main() -> int:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("quick", help="under a minute, one line at the end")
    parser.parse_args()
    from bench.programs import ProgramError
    from bench.quick import quick

    try:
        asyncio.run(quick(BEGAN))
    except ProgramError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
