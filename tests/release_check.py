"""Builds the release, installs it as users do, and tries it: `make release-check`.

It needs the package index for the build backend and for dependencies.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from perdure._version import __version__

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")

# What is no Python code and easily left out of a wheel.
_NEEDED = (
    "perdure/py.typed",
    "perdure/app/cli/starter/nango.yaml.txt",
    "api/static/docs.html",
)


def say(text: str) -> None:
    print(f"release-check: {text}", flush=True)


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode:
        sys.exit(f"release-check: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def built(folder: Path) -> Path:
    """The wheel, made from the source distribution as indexes and distributions do."""
    run(UV, "build", "--quiet", "--out-dir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    (_,) = folder.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    if missing := [name for name in _NEEDED if name not in names]:
        sys.exit(f"release-check: the wheel lacks {', '.join(missing)}")
    say(f"built {wheel.name}, {len(names)} files, {wheel.stat().st_size / 1024:.0f} KB")
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """The `perdure` command of an environment that holds nothing else."""
    environment = folder / "venv"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment, cwd=folder)
    python = environment / "bin" / "python"
    lock = ROOT / "requirements.lock"
    run(UV, "pip", "install", "--quiet", "--python", python, "-c", lock, wheel, cwd=folder)
    say("installed into an environment of its own")
    return environment / "bin" / "perdure"


def tried(perdure: Path, folder: Path) -> None:
    version = run(perdure, "--version", cwd=folder).strip()
    if version != __version__:
        sys.exit(f"release-check: `perdure --version` says {version}, not {__version__}")
    run(perdure, "init", "project", cwd=folder)
    project = folder / "project"
    for command in (("config", "check"), ("generate",), ("compile",)):
        run(perdure, *command, cwd=project)
        say(f"perdure {' '.join(command)}: fine")
    committed = (ROOT / "schemas" / "nango.schema.json").read_text()
    if run(perdure, "config", "schema", cwd=folder) != committed:
        sys.exit("release-check: schemas/nango.schema.json is not the one that is released")


def told() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    if not re.search(rf"^## \[{re.escape(__version__)}\]", changelog, re.MULTILINE):
        sys.exit(f"release-check: CHANGELOG.md has no section [{__version__}]")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tried(installed(built(folder), folder), folder)
    told()
    say(f"{__version__} can be released")


if __name__ == "__main__":
    main()
