"""One instance at a time in a folder, and who holds it is told."""

import asyncio
import os
import subprocess
import sys

import pytest

from perdure.embedded.lock import lock_folder
from perdure.errors import StartupError


def inheritor(fd):
    """A process that holds the lock as the child of an instance that ended does."""
    command = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    child = subprocess.Popen(
        command, pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    return child


def end(child):
    child.communicate(timeout=10)


async def test_missing_folder_is_created(tmp_path):
    async with lock_folder(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / "lock").stat().st_mode & 0o777 == 0o600


async def test_folder_of_a_living_instance_is_refused_with_its_pid(tmp_path):
    async with lock_folder(tmp_path):
        with pytest.raises(StartupError) as refused:
            async with lock_folder(tmp_path):
                pass

    assert refused.value.code == "folder_locked"
    assert f"process {os.getpid()}" in refused.value.message
    assert "\n" not in refused.value.message


async def test_folder_can_be_locked_again_after_it_was_given_back(tmp_path):
    for _ in range(3):
        async with lock_folder(tmp_path):
            pass


async def test_next_instance_waits_for_the_children_of_one_that_is_ending(tmp_path):
    async with lock_folder(tmp_path) as lock:
        child = inheritor(lock.fd)
        lock.announce_end()
    waiting = asyncio.create_task(_take(tmp_path, patience=10))
    _, pending = await asyncio.wait({waiting}, timeout=0.3)
    assert pending

    end(child)
    await asyncio.wait_for(waiting, 5)


async def test_next_instance_waits_for_the_children_of_one_that_was_killed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    async with lock_folder(tmp_path) as lock:
        child = inheritor(lock.fd)
        os.pwrite(lock.fd, str(dead.pid).encode().ljust(len(str(os.getpid()))), 0)
        os.ftruncate(lock.fd, len(str(dead.pid)))
    waiting = asyncio.create_task(_take(tmp_path, patience=10))
    _, pending = await asyncio.wait({waiting}, timeout=1)
    assert pending

    end(child)
    await asyncio.wait_for(waiting, 5)


async def test_waiting_for_children_ends(tmp_path):
    async with lock_folder(tmp_path) as lock:
        child = inheritor(lock.fd)
        lock.announce_end()

    with pytest.raises(StartupError) as refused:
        await _take(tmp_path, patience=0.2)
    assert refused.value.code == "folder_locked"
    end(child)


async def test_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(StartupError) as refused:
        await _take(tmp_path / "file", patience=0)
    assert refused.value.code == "folder_unusable"


async def _take(folder, *, patience):
    async with lock_folder(folder, patience=patience):
        return
