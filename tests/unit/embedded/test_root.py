"""As root: Postgres runs, and nothing of the user's changes its owner or mode."""

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

import asyncpg
import pytest

from perdure.embedded.accounts import Surroundings
from perdure.embedded.lock import lock_folder
from perdure.embedded.postgres import installed_binaries, open_cluster
from perdure.embedded.process import Guard, Process
from perdure.errors import StartupError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused by Postgres")


@pytest.fixture
def home(tmp_path):
    """A folder that only root may enter, like root's home."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def open_folder():
    """A folder that every account may enter."""
    folder = Path(tempfile.mkdtemp(prefix="perdure-test-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def looks(path):
    """Owner and mode of a folder, those above it, and what lies in it."""
    seen = [path, *path.parents, *path.iterdir()]
    return {p: (s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) for p in seen if (s := p.stat())}


async def use(data_dir, **surroundings):
    """Start Postgres, say who runs it, stop it."""
    around = Surroundings(data_dir=data_dir, **{"binaries": installed_binaries()} | surroundings)
    async with (
        lock_folder(data_dir),
        Guard() as guard,
        open_cluster(data_dir, guard, durable=False, surroundings=around) as postgres,
    ):
        process = await Process.start(postgres.service, guard)
        try:
            await process.until_ready(postgres.service.probe)
            connection = await asyncpg.connect(postgres.database_url)
            await connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz)")
            await connection.execute("INSERT INTO starts VALUES (now())")
            starts = await connection.fetchval("SELECT count(*) FROM starts")
            await connection.close()
            status = Path(f"/proc/{process.pid}/status").read_text()
            owner = int(next(x for x in status.splitlines() if x.startswith("Uid:")).split()[1])
            return starts, owner, Path(postgres.service.command[0])
        finally:
            await process.stop()


async def test_in_a_user_namespace_everything_stays_roots(home):
    (home / "project").mkdir()
    accounts = pwd.getpwall()
    before = looks(home)

    assert (await use(home / "data"))[:2] == (1, 0)
    assert (await use(home / "data"))[:2] == (2, 0)

    assert {path: look for path, look in looks(home).items() if path in before} == before
    assert pwd.getpwall() == accounts
    assert {path.stat().st_uid for path in (home / "data").rglob("*")} == {0}


async def test_without_namespaces_a_cluster_that_nobody_can_reach_is_nobodys(open_folder):
    data_dir = open_folder / "data"
    nobody = pwd.getpwnam("nobody").pw_uid
    before = looks(open_folder)
    around = {"namespaces": False, "system_folder": open_folder / "system"}

    assert (await use(data_dir, **around))[:2] == (1, nobody)
    assert (await use(data_dir, **around))[:2] == (2, nobody)

    assert {path: look for path, look in looks(open_folder).items() if path in before} == before
    assert (data_dir / "postgres").stat().st_uid == nobody
    assert not (open_folder / "system").exists()


async def test_without_namespaces_a_private_home_is_left_alone(home, open_folder):
    package = installed_binaries().parents[1]
    for source in package.parent.glob(f"{package.name}*"):
        shutil.copytree(source, home / source.name, symlinks=True)
    binaries = home / installed_binaries().relative_to(package.parent)
    nobody = pwd.getpwnam("nobody").pw_uid
    before = looks(home)
    system = open_folder / "system"
    around = {"namespaces": False, "system_folder": system, "binaries": binaries}

    starts, owner, program = await use(home / "data", **around)
    assert (starts, owner) == (1, nobody)
    assert program.is_relative_to(system)
    assert (await use(home / "data", **around))[:2] == (2, nobody)

    assert {path: look for path, look in looks(home).items() if path in before} == before
    assert not (home / "data" / "postgres").exists()
    [cluster] = system.glob("cluster-*/postgres")
    assert (cluster.stat().st_uid, stat.S_IMODE(cluster.stat().st_mode)) == (nobody, 0o700)


async def test_cluster_keeps_its_account_when_namespaces_come_to_work(open_folder):
    nobody = pwd.getpwnam("nobody").pw_uid

    assert (await use(open_folder / "data", namespaces=False))[:2] == (1, nobody)
    assert (await use(open_folder / "data"))[:2] == (2, nobody)


async def test_cluster_of_a_deleted_data_folder_is_not_found_again(home, open_folder):
    around = {"namespaces": False, "system_folder": open_folder / "system"}
    assert (await use(home / "data", **around))[0] == 1
    shutil.rmtree(home / "data")

    assert (await use(home / "data", **around))[0] == 1


async def test_cluster_that_is_gone_is_not_replaced_by_an_empty_one(home, open_folder):
    around = {"namespaces": False, "system_folder": open_folder / "system"}
    await use(home / "data", **around)
    shutil.rmtree(open_folder / "system")

    with pytest.raises(StartupError, match="which is gone"):
        await use(home / "data", **around)
