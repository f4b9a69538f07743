"""Node.js packages that only tests use."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest


def npm_install(folder: Path) -> None:
    """Install what a folder's `package-lock.json` says, once for all who test at the same time."""
    if shutil.which("npm") is None:
        pytest.skip("Node.js is not installed")
    with (folder / "package.json").open() as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        lock = folder / "package-lock.json"
        installed = folder / "node_modules" / ".package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            command = ["npm", "ci", "--no-audit", "--no-fund", "--silent"]
            subprocess.run(command, cwd=folder, check=True, timeout=300)
            installed.touch()
