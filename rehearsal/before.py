"""The release before, for an upgrade to be rehearsed: the commit that lacks the newest revision.

Git knows it. Its files are put into a folder and run with the libraries of this checkout, as long
as those fit them.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Before", "NoHistoryError", "release_before"]

_ROOT = Path(__file__).resolve().parents[1]
_REVISIONS = "perdure/db/migrations/versions"


class NoHistoryError(Exception):
    """There is no release before to be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Before:
    """A commit whose code runs beside that of this checkout.

    Attributes:
        commit: Its short name.
        lacks: The name of the newest revision, which it does not have.
        folder: Where its files are.
    """

    commit: str
    lacks: str
    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What has a Python of this checkout run that code, wherever it is started."""
        return {"PYTHONPATH": str(self.folder), "PYTHONSAFEPATH": "1"}


def release_before(folder: Path, root: Path = _ROOT) -> Before:
    """Write the files of the commit before the newest revision into a folder.

    Args:
        folder: Where they go.
        root: The checkout whose history it is.

    Raises:
        NoHistoryError: As where there is an archive of the files alone.
    """
    # A folder in a checkout of something else has a history that is not its own.
    if not (root / ".git").exists():
        raise NoHistoryError("this is no git checkout")
    newest = max((root / _REVISIONS).glob("r[0-9]*.py")).relative_to(root)
    added = _git(root, "log", "-1", "--no-renames", "--diff-filter=A", "--format=%H", "--", newest)
    # What is not committed yet comes after all that is.
    before = f"{added.decode().strip()}^" if added else "HEAD"
    commit = _git(root, "rev-parse", "--verify", "--short", before).decode().strip()
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", commit))) as files:
        files.extractall(folder, filter="data")
    return Before(commit, newest.stem, folder)


def _git(root: Path, *arguments: str | Path) -> bytes:
    if (git := shutil.which("git")) is None:
        raise NoHistoryError("git is not installed")
    done = subprocess.run([git, "-C", root, *arguments], capture_output=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        told = done.stderr.decode(errors="replace").strip()
        raise NoHistoryError(f"`git {arguments[0]}` says: {told}")
    return done.stdout
