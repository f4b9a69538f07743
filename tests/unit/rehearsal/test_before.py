"""The release before is the commit that lacks the newest revision, where git knows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.before import NoHistoryError, release_before

AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.org")
REVISIONS = Path("perdure/db/migrations/versions")


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *AUTHOR, "-C", root, *arguments], check=True, capture_output=True)


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        (root / REVISIONS / f"{name}.py").write_text(text)


def commit(root: Path, **files: str) -> None:
    write(root, **files)
    git(root, "add", ".")
    git(root, "commit", "--message", "more")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    (root / REVISIONS).mkdir(parents=True)
    git(root, "init")
    (root / "perdure" / "__init__.py").write_text("age = 'old'\n")
    commit(root, r0001_initial="1")
    (root / "perdure" / "__init__.py").write_text("age = 'new'\n")
    commit(root, r0002_more="2")
    commit(root, r0002_more="2, mended")
    return root


def test_commit_before_the_newest_revision_is_the_release_before(
    root: Path, tmp_path: Path
) -> None:
    before = release_before(tmp_path / "before", root)

    assert before.lacks == "r0002_more"
    assert [file.name for file in (before.folder / REVISIONS).iterdir()] == ["r0001_initial.py"]


def test_its_code_is_run_wherever_a_process_is_started(root: Path, tmp_path: Path) -> None:
    before = release_before(tmp_path / "before", root)

    (root / "perdure" / "__main__.py").write_text("import perdure; print(perdure.age)\n")
    (before.folder / "perdure" / "__main__.py").write_text("import perdure; print(perdure.age)\n")
    done = subprocess.run(
        [sys.executable, "-m", "perdure"],
        cwd=root,
        env=os.environ | dict(before.environment),
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == "old\n"


def test_revision_that_is_not_committed_comes_after_all_commits(root: Path, tmp_path: Path) -> None:
    write(root, r0003_latest="3")

    before = release_before(tmp_path / "before", root)

    assert before.lacks == "r0003_latest"
    assert (before.folder / REVISIONS / "r0002_more.py").read_text() == "2, mended"


def test_files_without_history_say_so(root: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--depth", "1", f"file://{root}", "shallow")
    (root / ".git").rename(tmp_path / "elsewhere")

    with pytest.raises(NoHistoryError, match="no git checkout"):
        release_before(tmp_path / "before", root)
    with pytest.raises(NoHistoryError, match="git rev-parse"):
        release_before(tmp_path / "before", tmp_path / "shallow")
