"""Which account Postgres runs under, and where its cluster lies, when we are root.

Postgres refuses to run as root. Nothing of the user's is given to another account for that:
no system user is made, no owner or mode of an existing file or folder is changed. Instead

- where Linux lets us, Postgres runs in a user namespace in which root goes by the name of
  `nobody`: to the outside it is root, and so is the owner of the cluster;
- elsewhere (some containers) it runs as the real `nobody`, who owns the cluster. If `nobody` can
  neither get to the data folder nor read the programs, the cluster lies, and a copy of the programs
  too, in a system folder of our own; the data folder keeps a pointer to it.

What was chosen for a cluster when it was made holds for its life.
"""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perdure.embedded.process import Guard, Identity, Program, run_to_end
from perdure.errors import StartupError

__all__ = ["SYSTEM_FOLDER", "Placement", "Surroundings", "place_cluster"]

SYSTEM_FOLDER = Path("/var/lib/perdure")
_CLUSTER = "postgres"
_POINTER = "postgres.location"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What there is to choose from.

    Attributes:
        data_dir: The data folder.
        binaries: Folder of the installed Postgres programs.
        namespaces: Whether a new cluster may be run in a user namespace.
        system_folder: Where a cluster lies that cannot lie in its data folder.
    """

    data_dir: Path
    binaries: Path
    namespaces: bool = True
    system_folder: Path = SYSTEM_FOLDER


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a cluster lies and how its programs are run.

    Attributes:
        cluster: The cluster's folder; it may not exist yet, the folder above it does.
        binaries: Folder with `postgres` and `initdb`.
        identity: The account they run under.
    """

    cluster: Path
    binaries: Path
    identity: Identity


async def place_cluster(around: Surroundings, guard: Guard) -> Placement:
    """Find the place of the cluster that belongs to a data folder, or choose one.

    Args:
        around: What there is to choose from.
        guard: Ends the programs that are run to find out what is possible.

    Raises:
        StartupError: The cluster cannot be run by this account on this machine, or is gone.
    """
    cluster = _known_cluster(around.data_dir)
    if os.geteuid() != 0:
        return Placement(cluster, around.binaries, Identity())
    trial = _Trial(around, guard)
    if cluster.exists():
        identity = await _identity_of(cluster.stat(), cluster, trial)
    elif around.namespaces and await trial.in_namespace(_nobody("namespace")):
        identity = _nobody("namespace")
    else:
        identity = _nobody("account")
        if not await trial.reaches(identity, cluster.parent):
            cluster = _cluster_elsewhere(around)
    binaries = around.binaries
    if identity.kind == "account" and not await trial.runs_postgres(identity):
        binaries = _copy_binaries(binaries, around.system_folder)
    return Placement(cluster, binaries, identity)


def _known_cluster(data_dir: Path) -> Path:
    """Return where the cluster of a data folder is, or would be by default."""
    pointer = data_dir / _POINTER
    if not pointer.exists():
        return data_dir / _CLUSTER
    cluster = Path(pointer.read_text(encoding="utf-8").strip())
    if not cluster.parent.exists():
        message = f"the database of {data_dir} was in {cluster}, which is gone"
        raise StartupError(message, code="cluster_missing")
    return cluster


async def _identity_of(owner: os.stat_result, cluster: Path, trial: _Trial) -> Identity:
    if owner.st_uid != 0:
        return Identity("account", owner.st_uid, owner.st_gid)
    if not await trial.in_namespace(_nobody("namespace")):
        message = (
            f"{cluster} belongs to root, and this machine does not let root run Postgres in a "
            "user namespace; run as another user with a data folder of its own"
        )
        raise StartupError(message, code="root_refused")
    return _nobody("namespace")


def _nobody(kind: Literal["namespace", "account"]) -> Identity:
    try:
        account = pwd.getpwnam("nobody")
    except KeyError as error:
        message = "Postgres does not run as root, and this machine has no account `nobody` for it"
        raise StartupError(message, code="root_refused") from error
    return Identity(kind, account.pw_uid, account.pw_gid)


class _Trial:
    """Finds out what an account can do by having it try."""

    def __init__(self, around: Surroundings, guard: Guard) -> None:
        self._around = around
        self._guard = guard

    async def in_namespace(self, identity: Identity) -> bool:
        """Say whether Postgres can be run in a user namespace."""
        return (
            sys.platform == "linux"
            and await self.reaches(identity, self._around.data_dir)
            and await self.runs_postgres(identity)
        )

    async def reaches(self, identity: Identity, folder: Path) -> bool:
        """Say whether an account can get to what lies in a folder."""
        return await self._can(identity, "/bin/sh", "-c", 'test -x "$1"', "sh", str(folder))

    async def runs_postgres(self, identity: Identity) -> bool:
        """Say whether an account can run the installed programs."""
        return await self._can(identity, str(self._around.binaries / "postgres"), "--version")

    async def _can(self, identity: Identity, *command: str) -> bool:
        program = Program(
            name="postgres trial",
            command=command,
            environment={"LC_ALL": "C", "PATH": os.defpath},
            log=self._around.data_dir / "logs" / "postgres-setup.log",
            identity=identity,
        )
        return await run_to_end(program, self._guard, patience=30) == 0


def _cluster_elsewhere(around: Surroundings) -> Path:
    _make_public(around.system_folder)
    # A name of its own each time: a data folder that was deleted must not find its old cluster.
    folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=around.system_folder))
    folder.chmod(0o711)
    cluster = folder / _CLUSTER
    (around.data_dir / _POINTER).write_text(f"{cluster}\n", encoding="utf-8")
    return cluster


def _copy_binaries(binaries: Path, system_folder: Path) -> Path:
    """Copy the installed Postgres to where every account can read it, once for each one.

    The programs look for the libraries that came with them in a folder beside the package.
    """
    package = binaries.parents[1]
    _make_public(system_folder)
    target = system_folder / f"programs-{(binaries / 'postgres').stat().st_mtime_ns}"
    if not target.exists():
        copy = Path(tempfile.mkdtemp(prefix="programs-", dir=system_folder))
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, copy / source.name, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755)
        copy.rename(target)
    return target / binaries.relative_to(package.parent)


def _make_public(folder: Path) -> None:
    """Create a folder, and those above it that are missing, readable for every account."""
    for path in reversed((folder, *folder.parents)):
        if not path.exists():
            path.mkdir()
            path.chmod(0o755)
