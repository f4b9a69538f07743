"""Runs the command line: `python -m perdure`."""

import sys

from perdure.app.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
