"""Children end with their parent, however it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from perdure.embedded.process import Guard, Process, Program, run_to_end, tail
from perdure.errors import StartupError

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(600)"
)

PARENT = """
import asyncio, sys
from pathlib import Path
from perdure.embedded.process import Guard, Process, Program

async def main(folder):
    async with Guard() as guard:
        guard.remove_at_end(folder / "scratch")
        child = await Process.start(
            Program(name="child", command=("sleep", "600"), environment={"PATH": sys.argv[2]},
                    log=folder / "child.log"), guard)
        print(child.pid, guard._process.pid, flush=True)
        await guard.keep()

asyncio.run(main(Path(sys.argv[1])))
"""


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def python(script, tmp_path, **more):
    return Program(
        name="script",
        command=(sys.executable, "-c", script),
        environment={},
        log=tmp_path / "script.log",
        **more,
    )


@pytest.fixture
async def guard():
    async with Guard() as guard:
        yield guard


@pytest.fixture
def parent(tmp_path):
    (tmp_path / "scratch").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), os.environ["PATH"]],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process
    process.kill()
    process.communicate()


def test_child_of_a_killed_parent_ends_and_its_folder_is_removed(parent, tmp_path):
    child, guard = (int(pid) for pid in parent.stdout.readline().split())
    assert lives(child)
    assert lives(guard)

    parent.kill()

    wait_until(lambda: not lives(child))
    wait_until(lambda: not lives(guard))
    assert not (tmp_path / "scratch").exists()


def test_child_ends_even_when_the_guard_was_killed_before_its_parent(parent):
    child, guard = (int(pid) for pid in parent.stdout.readline().split())
    os.kill(guard, signal.SIGKILL)
    wait_until(lambda: not lives(guard))

    parent.kill()

    wait_until(lambda: not lives(child))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux' own")
def test_child_ends_when_parent_and_guard_are_killed_at_once(parent):
    child, guard = (int(pid) for pid in parent.stdout.readline().split())
    parent.send_signal(signal.SIGSTOP)  # so that it cannot start another guard
    os.kill(guard, signal.SIGKILL)
    wait_until(lambda: not lives(guard))

    parent.kill()

    wait_until(lambda: not lives(child))


async def test_program_keeps_its_pid_and_leads_a_group_of_its_own(guard, tmp_path):
    script = "import os; print(os.getpid(), os.getpgid(0), os.getsid(0))"
    process = await Process.start(python(script, tmp_path), guard)

    assert await process.wait() == 0
    assert (tmp_path / "script.log").read_text().split() == [str(process.pid)] * 3


async def test_what_a_program_leaves_behind_ends_with_it(guard, tmp_path):
    script = "import subprocess; print(subprocess.Popen(['/bin/sleep', '600']).pid)"
    process = await Process.start(python(script, tmp_path), guard)
    await process.wait()

    orphan = int((tmp_path / "script.log").read_text())
    wait_until(lambda: not lives(orphan))


async def test_program_that_does_not_heed_its_signal_is_killed(guard, tmp_path):
    process = await Process.start(python(STUBBORN, tmp_path, patience=0.2), guard)

    async def is_up():
        return "up" in (tmp_path / "script.log").read_text()

    await process.until_ready(is_up)
    async with asyncio.timeout(5):
        await process.stop()

    assert await process.wait() == -signal.SIGKILL


async def test_program_that_ends_before_it_answers_shows_the_end_of_its_log(guard, tmp_path):
    async def never():
        return False

    process = await Process.start(python("raise SystemExit('the reason')", tmp_path), guard)
    with pytest.raises(StartupError, match="the reason"):
        await process.until_ready(never)


async def test_program_that_does_not_answer_in_time_is_reported(guard, tmp_path):
    async def never():
        return False

    process = await Process.start(python(STUBBORN, tmp_path, patience=0.1), guard)
    with pytest.raises(StartupError, match="did not answer"):
        await process.until_ready(never, patience=0.1)
    await process.stop()


async def test_program_that_is_to_end_by_itself_is_stopped_when_it_does_not(guard, tmp_path):
    program = python("import time; time.sleep(600)", tmp_path)

    with pytest.raises(StartupError, match="did not end"):
        await run_to_end(program, guard, patience=0.1)


async def test_exit_code_of_a_program_is_returned(guard, tmp_path):
    assert await run_to_end(python("raise SystemExit(7)", tmp_path), guard) == 7


async def test_missing_program_is_named_in_the_log(guard, tmp_path):
    log = tmp_path / "no.log"
    program = Program(name="no", command=("/no/such/program",), environment={}, log=log)

    assert await run_to_end(program, guard) != 0
    assert "/no/such/program" in tail(log)


async def test_log_that_has_grown_large_is_moved_aside(guard, tmp_path):
    log = tmp_path / "script.log"
    with log.open("wb") as file:
        file.truncate(11 * 1024 * 1024)

    await run_to_end(python("print('new')", tmp_path), guard)

    assert log.read_text() == "new\n"
    assert (tmp_path / "script.log.1").stat().st_size == 11 * 1024 * 1024


async def test_log_and_files_of_a_program_are_private(guard, tmp_path):
    file = tmp_path / "file"
    await run_to_end(python(f"open({str(file)!r}, 'w').close()", tmp_path), guard)

    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "script.log").stat().st_mode & 0o777 == 0o600


def test_tail_of_a_missing_log_is_empty(tmp_path: Path):
    assert tail(tmp_path / "none.log") == ""
