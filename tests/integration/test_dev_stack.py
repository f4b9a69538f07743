"""`perdure dev` as users see it: real Postgres and Temporal, stand-ins for our own processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import asyncpg
import psutil
import pytest
from temporalio.client import Client

from perdure.app.dev import read_dev_file

PROGRAMS = Path(__file__).with_name("dev_programs.py")
CHILDREN = ("api", "worker", "temporal", "postgres")


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def command_line(process):
    """What a process was started with, empty when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def family(process):
    """All processes of a stack: the command, its children, their children."""
    leader = psutil.Process(process.pid)
    return [process.pid, *(child.pid for child in leader.children(recursive=True))]


def processes_in(data_dir):
    """Command lines of the processes that name a folder."""
    return [line for p in psutil.process_iter() if f"{data_dir}/" in (line := command_line(p))]


class Dev:
    """A running, or failing, `perdure dev`."""

    def __init__(self, data_dir, *, environment=None, **options):
        terms = {"port": 0, "temporal_port": 0, "ui_port": 0} | options
        self.data_dir = data_dir
        self.output = data_dir.with_name(f"{data_dir.name}-{uuid.uuid4()}.txt")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, PROGRAMS, "dev", json.dumps({"data_dir": str(data_dir)} | terms)],
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": str(Path.cwd())} | (environment or {}),
            )

    def content(self):
        """The content of dev.json, None while there is none."""
        try:
            content = json.loads((self.data_dir / "dev.json").read_text())
        except FileNotFoundError:
            assert self.process.poll() is None, self.process.stderr.read()
            return None
        return content if content["pids"]["dev"] == self.process.pid else None

    def up(self):
        """Wait until it is up and return the content of dev.json."""
        return wait_until(self.content, 60)

    def lines(self):
        return self.output.read_text().splitlines()

    def says(self, *words):
        """Wait for a line with these words."""
        wait_until(lambda: any(all(w in line for w in words) for line in self.lines()))

    def end(self, number=signal.SIGTERM):
        """Signal it and wait for its end; returns exit code and standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors

    def fails(self):
        """Wait for it to give up; returns exit code and standard error."""
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors


@pytest.fixture
def dev(tmp_path):
    """Starts stacks, and kills what is left of them."""
    started = []

    def start(data_dir=None, **options):
        started.append(Dev(data_dir or tmp_path / "data", **options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "nango.yaml").write_text("first: 1\n")
    return folder


async def test_everything_answers_when_dev_json_appears(dev, tmp_path):
    stack = dev(environment={"PGPORT": "1", "TEMPORAL_TLS": "true", "PG_SOURCE": "kept"})
    content = stack.up()

    assert set(content) == {
        *("api_url", "secret_key", "temporal_address", "temporal_namespace"),
        *("temporal_ui_url", "database_url", "metrics_urls", "pids"),
    }
    assert set(content["pids"]) == {"dev", *CHILDREN}
    assert all(lives(pid) for pid in content["pids"].values())
    assert (tmp_path / "data" / "dev.json").stat().st_mode & 0o777 == 0o600
    connection = await asyncpg.connect(content["database_url"])
    assert await connection.fetchval("SELECT count(*) FROM starts") == 1
    await connection.close()
    namespace = content["temporal_namespace"]
    await Client.connect(content["temporal_address"], namespace=namespace)
    with urllib.request.urlopen(content["temporal_ui_url"], timeout=5) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{content['api_url']}/health", timeout=5) as answer:
        environment = json.load(answer)
    assert environment["PERDURE_SECRET_KEY"] == content["secret_key"]
    assert environment["PERDURE_DATABASE_URL"] == content["database_url"]
    assert environment["PERDURE_ALLOW_PRIVATE_NETWORKS"] == "true"
    metrics = f"http://{environment['PERDURE_METRICS_ADDRESS']}/metrics"
    assert content["metrics_urls"]["api"] == metrics != content["metrics_urls"]["worker"]
    assert environment["PG_SOURCE"] == "kept"
    assert not {"PGPORT", "TEMPORAL_TLS"} & set(environment)
    uuid.UUID(content["secret_key"])


def test_secrets_are_neither_shown_nor_in_any_command_line(dev, tmp_path):
    stack = dev()
    content = stack.up()
    stack.says("Processes")
    secrets = json.loads((tmp_path / "data" / "secrets.json").read_text())
    hidden = [content["secret_key"], secrets["encryption_keys"].partition(":")[2]]
    commands = [command_line(psutil.Process(pid)) for pid in family(stack.process)]

    assert (tmp_path / "data" / "secrets.json").stat().st_mode & 0o777 == 0o600
    for text in (stack.output.read_text(), *commands):
        assert not any(secret in text for secret in hidden)
    assert content["api_url"] in stack.output.read_text()
    assert content["temporal_ui_url"] in stack.output.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_all_processes(dev, tmp_path, number):
    stack = dev()
    content = stack.up()
    pids = family(stack.process)
    assert set(content["pids"].values()) <= set(pids)

    assert stack.end(number) == (0, "")

    assert not [pid for pid in pids if lives(pid)]
    assert not (tmp_path / "data" / "dev.json").exists()
    assert read_dev_file(tmp_path / "data") is None


def test_signal_while_starting_ends_all_processes(dev, tmp_path):
    stack = dev()
    log = tmp_path / "data" / "logs" / "temporal.log"
    wait_until(log.exists, 60)
    pids = family(stack.process)

    assert stack.end()[0] == 0
    assert not [pid for pid in pids if lives(pid)]


def test_second_signal_makes_the_end_quick(dev):
    stack = dev()
    content = stack.up()
    # They will not heed SIGTERM, and end one after the other: that takes twice five seconds.
    stubborn = [content["pids"][name] for name in ("worker", "temporal")]
    for pid in stubborn:
        os.kill(pid, signal.SIGSTOP)
    stack.process.send_signal(signal.SIGINT)
    stack.says("ending")
    began = time.monotonic()

    assert stack.end(signal.SIGINT)[0] == 0
    assert time.monotonic() - began < 9
    assert not [pid for pid in stubborn if lives(pid)]


def test_children_of_a_killed_dev_end_and_the_folder_can_be_used_at_once(dev):
    stack = dev()
    first = stack.up()
    pids = family(stack.process)

    stack.process.kill()
    stack.process.wait()
    ports = {
        "port": int(first["api_url"].rpartition(":")[2]),
        "temporal_port": int(first["temporal_address"].rpartition(":")[2]),
    }
    again = dev(**ports)
    second = again.up()

    assert not [pid for pid in pids if lives(pid)]
    assert second["api_url"] == first["api_url"]
    assert second["secret_key"] == first["secret_key"]


async def test_second_start_takes_up_keys_database_and_workflows(dev, tmp_path):
    stack = dev()
    first = stack.up()
    secrets = (tmp_path / "data" / "secrets.json").read_bytes()
    client = await Client.connect(first["temporal_address"])
    await client.start_workflow("none", id="kept", task_queue="none")
    assert stack.end()[0] == 0

    second = dev().up()

    assert second["secret_key"] == first["secret_key"]
    assert (tmp_path / "data" / "secrets.json").read_bytes() == secrets
    connection = await asyncpg.connect(second["database_url"])
    assert await connection.fetchval("SELECT count(*) FROM starts") == 2
    await connection.close()
    client = await Client.connect(second["temporal_address"])
    assert (await client.get_workflow_handle("kept").describe()).id == "kept"


@pytest.mark.parametrize("name", CHILDREN)
async def test_killed_child_is_started_again_in_its_place_within_seconds(dev, name):
    stack = dev()
    before = stack.up()

    os.kill(before["pids"][name], signal.SIGKILL)
    began = time.monotonic()
    wait_until(lambda: stack.content()["pids"][name] != before["pids"][name])

    assert time.monotonic() - began < 10
    after = stack.content()
    assert after == before | {"pids": before["pids"] | {name: after["pids"][name]}}
    stack.says(name, "SIGKILL", "starting it again")
    stack.says(name, "answers again", str(stack.content()["pids"][name]))
    connection = await asyncpg.connect(after["database_url"])
    assert await connection.fetchval("SELECT count(*) FROM starts") == 1
    await connection.close()
    await Client.connect(after["temporal_address"])


def test_killed_guard_does_not_disturb_and_is_replaced(dev):
    stack = dev()
    content = stack.up()

    def guards():
        children = psutil.Process(stack.process.pid).children()
        return [child.pid for child in children if "guard.py" in command_line(child)]

    [first] = guards()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: [pid for pid in guards() if pid != first])
    stack.process.kill()
    stack.process.wait()

    wait_until(lambda: not [pid for pid in content["pids"].values() if lives(pid)])


def test_port_in_use_is_one_line_and_leaves_nothing_running(dev, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, errors = dev(ui_port=port).fails()

    assert code == 1
    assert errors.count("\n") == 1
    assert f"port {port} (--ui-port)" in errors
    assert processes_in(tmp_path / "data") == []


def test_locked_folder_is_one_line_with_the_holder(dev, tmp_path):
    stack = dev()
    content = stack.up()

    code, errors = dev().fails()

    assert code == 1
    assert errors.count("\n") == 1
    assert f"process {stack.process.pid}" in errors
    assert stack.content() == content
    assert read_dev_file(tmp_path / "data").api_url == content["api_url"]


def test_missing_project_is_one_line_and_makes_no_data_folder(dev, tmp_path):
    code, errors = dev(project=str(tmp_path / "nowhere")).fails()

    assert code == 1
    assert errors.count("\n") == 1
    assert str(tmp_path / "nowhere") in errors
    assert not (tmp_path / "data").exists()


def test_data_folder_that_is_a_file_is_one_line(dev, tmp_path):
    (tmp_path / "data").touch()

    code, errors = dev().fails()

    assert code == 1
    assert errors.count("\n") == 1
    assert str(tmp_path / "data") in errors


@pytest.mark.parametrize("name", ["api", "worker", "migrate"])
def test_process_that_cannot_start_shows_its_log_and_leaves_nothing_running(dev, tmp_path, name):
    code, errors = dev(failing=name).fails()

    assert code == 1
    assert name in errors
    assert "no good reason" in errors
    assert processes_in(tmp_path / "data") == []
    assert not (tmp_path / "data" / "dev.json").exists()


def test_lost_secrets_are_not_replaced_while_there_is_data(dev, tmp_path):
    stack = dev()
    stack.up()
    stack.end()
    (tmp_path / "data" / "secrets.json").unlink()

    code, errors = dev().fails()

    assert code == 1
    assert "secrets.json is gone" in errors


def test_project_is_deployed_at_start_and_on_every_change(dev, project):
    stack = dev(project=str(project))
    content = stack.up()
    stack.says("deployed 'first: 1'", content["api_url"])

    (project / "nango.yaml").write_text("broken\n")
    stack.says("nango.yaml:1:1 is broken")
    (project / "nango.yaml").write_text("crash\n")
    stack.says("ValueError: no such luck")
    (project / "nango.yaml").write_text("second: 2\n")
    stack.says("deployed 'second: 2'")

    assert stack.content()["pids"] == content["pids"]


def test_project_is_deployed_once_without_watching(dev, project):
    stack = dev(project=str(project), watch=False)
    stack.up()
    stack.says("deployed 'first: 1'")

    (project / "nango.yaml").write_text("second: 2\n")
    os.kill(stack.content()["pids"]["api"], signal.SIGKILL)
    stack.says("api", "answers again")  # far longer than a watched change takes

    assert not any("second: 2" in line for line in stack.lines())


def test_data_in_the_project_folder_does_not_cause_deploys(dev, project):
    data_dir = project / ".perdure"
    stack = dev(data_dir=data_dir, project=str(project))
    stack.up()
    stack.says("deployed 'first: 1'")

    (data_dir / "logs" / "some.yaml").write_text("no: source\n")
    (project / "notes.txt").write_text("no source\n")
    (project / "nango.yaml").write_text("second: 2\n")
    stack.says("deployed 'second: 2'")

    assert sum("deploy " in line for line in stack.lines()) == 2


def test_stack_runs_under_an_ordinary_account(dev, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("all other tests ran under one")
    unshare = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("needs user namespaces")
    terms = {"data_dir": str(tmp_path / "data"), "port": 0, "temporal_port": 0, "ui_port": 0}
    process = subprocess.Popen(
        [*unshare, sys.executable, PROGRAMS, "dev", json.dumps(terms)],
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    try:
        wait_until((tmp_path / "data" / "dev.json").exists, 60)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_dev_file_of_a_stack_that_is_gone_is_not_believed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    content = {
        "api_url": "http://127.0.0.1:1",
        "secret_key": str(uuid.uuid4()),
        "temporal_address": "127.0.0.1:2",
        "temporal_namespace": "default",
        "temporal_ui_url": "http://127.0.0.1:3",
        "database_url": "postgresql://",
        "pids": {"dev": gone.pid} | dict.fromkeys(CHILDREN, 1),
    }
    (tmp_path / "dev.json").write_text(json.dumps(content))

    assert read_dev_file(tmp_path) is None
