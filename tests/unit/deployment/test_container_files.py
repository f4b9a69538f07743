"""What the Dockerfile and the compose file name is there: files, settings, commands, services."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from api.scopes import RULES
from config.settings import Settings
from perdure.app.cli.main import app

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
OPEN_PATHS = {path for (_, path), rule in RULES.items() if rule.scopes is None}


def settings() -> set[str]:
    """Names of the variables that the processes read."""
    return {
        str(field.validation_alias or f"PERDURE_{name.upper()}")
        for name, field in Settings.model_fields.items()
    }


def run(*command: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = command
    return subprocess.run(
        [BIN / program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    parser = DockerfileParser(fileobj=(ROOT / "Dockerfile").open("rb"))
    return [(step["instruction"], step["value"]) for step in parser.structure]


def own(compose: dict[str, Any]) -> dict[str, Any]:
    """Services of our own image."""
    found = {n: s for n, s in compose["services"].items() if s["image"].startswith("perdure:")}
    assert set(found) == {"migrate", "api", "worker"}
    return found


def pinned(locked: Path) -> dict[str, str]:
    found = re.findall(
        r"^([a-z0-9._-]+)(?:\[[^]]*])?==([^\s;\\]+)", locked.read_text(), re.MULTILINE
    )
    return dict(found)


def test_dockerfile_passes_the_linter() -> None:
    done = run("hadolint", "Dockerfile")

    assert (done.returncode, done.stdout) == (0, "")


def test_compose_file_fits_the_specification() -> None:
    done = run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")

    assert done.returncode == 0, done.stdout


def test_everything_that_is_copied_exists_and_is_let_through(
    instructions: list[tuple[str, str]],
) -> None:
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = {
        source
        for name, value in instructions
        if name == "COPY" and not value.startswith("--from")
        for source in value.split()[:-1]
    }

    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied


def test_image_is_built_on_a_pinned_base_and_runs_as_nobody_special(
    instructions: list[tuple[str, str]],
) -> None:
    (base,) = [value for name, value in instructions if name == "ARG" and "IMAGE" in value]
    stages = [value for name, value in instructions if name == "FROM"]
    users = [value for name, value in instructions if name == "USER"]

    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base)
    assert all(stage.split()[0] == "${PYTHON_IMAGE}" for stage in stages)
    assert int(users[-1]) > 0


def test_image_holds_what_was_tested_and_nothing_without_a_hash() -> None:
    image, tested = pinned(ROOT / "requirements.image.lock"), pinned(ROOT / "requirements.lock")

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[\[<>=; ]", need)[0] for need in project["dependencies"]}
    assert needed <= set(image)
    assert "pytest" not in image
    assert image.items() <= tested.items()
    entries = re.split(r"^(?=[a-z])", (ROOT / "requirements.image.lock").read_text(), flags=re.M)
    assert all("--hash=sha256:" in entry for entry in entries if entry)


def test_every_variable_is_a_setting(
    compose: dict[str, Any], instructions: list[tuple[str, str]]
) -> None:
    set_in_image = {
        name
        for instruction, value in instructions
        if instruction == "ENV"
        for name in re.findall(r"(PERDURE_\w+|TEMPORAL_\w+)=", value)
    }
    set_in_compose = {name for service in own(compose).values() for name in service["environment"]}
    in_example = set(re.findall(r"^(PERDURE_\w+)=", (ROOT / ".env.example").read_text(), re.M))

    assert {"PERDURE_HOST", "PERDURE_READY_FILE"} <= set_in_image
    assert {"PERDURE_DATABASE_URL", "TEMPORAL_ADDRESS"} <= set_in_compose
    assert set_in_image | set_in_compose | in_example <= settings()


def test_what_has_to_be_filled_in_stands_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    needed = set(re.findall(r"(?<!\$)\$\{(\w+):\?", text))
    given = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert needed
    assert needed == given


def images(compose: dict[str, Any]) -> dict[str, str]:
    """Images by their services, with the versions that stand where nobody says another."""
    return {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", service["image"])
        for name, service in compose["services"].items()
    }


def is_pinned(image: str) -> bool:
    """Whether the name means one release: Postgres has two numbers, everybody else three."""
    numbers = 1 if image.startswith("postgres:") else 2
    version = rf":\d+(\.\d+){{{numbers}}}(-[a-z0-9.-]+)?$"
    return re.search(rf"{version}|@sha256:[0-9a-f]{{64}}$", image) is not None


def test_images_are_pinned_to_one_release(compose: dict[str, Any]) -> None:
    ours = own(compose)

    floating = {
        name for name, image in images(compose).items() if name not in ours and not is_pinned(image)
    }
    assert not floating
    assert {images(compose)[name] for name in ours} == {"perdure:local"}


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        ("postgres:17.11", True),
        ("postgres:17.11-bookworm", True),
        ("postgres:17", False),
        ("postgres:17-bookworm", False),
        ("temporalio/server:1.32.0", True),
        ("temporalio/server:1.32", False),
        ("temporalio/server:latest", False),
        ("temporalio/server", False),
        (f"temporalio/server:1.32@sha256:{'0' * 64}", True),
    ],
)
def test_tag_that_moves_is_no_pin(image: str, pinned: bool) -> None:
    assert is_pinned(image) is pinned


def test_temporal_is_the_release_that_everything_is_tested_with(compose: dict[str, Any]) -> None:
    told = run("temporal", "--version").stdout
    (server,) = re.findall(r"Server ([\d.]+)", told)
    (ui,) = re.findall(r"UI ([\d.]+)", told)

    used = {image for image in images(compose).values() if image.startswith("temporalio/")}

    assert used == {
        f"temporalio/server:{server}",
        f"temporalio/admin-tools:{server}",
        f"temporalio/ui:{ui}",
    }
    page = (ROOT / "docs" / "operations.md").read_text()
    (explained,) = re.findall(r"dynamic configuration, release (\d+\.\d+)", page)
    assert server.startswith(f"{explained}.")


def test_commands_are_commands(
    compose: dict[str, Any], instructions: list[tuple[str, str]]
) -> None:
    commands = [service["command"] for service in own(compose).values()]
    commands += [json.loads(value) for name, value in instructions if name == "CMD"]
    probe = compose["services"]["worker"]["healthcheck"]["test"]
    assert probe[:2] == ["CMD", "perdure"]
    commands.append(probe[2:])

    for command in commands:
        # Parsed as the program would; nothing is run.
        function, _, unused = app.parse_known_args(command)[:3]
        assert function.__name__ == command[0]
        assert not unused


def test_probes_ask_what_is_open_to_all(
    compose: dict[str, Any], instructions: list[tuple[str, str]]
) -> None:
    api = compose["services"]["api"]["healthcheck"]["test"]
    (image,) = [value for name, value in instructions if name == "HEALTHCHECK"]
    programs = [api[3], json.loads(image[image.index("[") :])[2]]

    for program in programs:
        compile(program, "probe", "exec")
        (path,) = re.findall(r"http://127\.0\.0\.1:3003(/[^']*)'", program)
        assert path in OPEN_PATHS


def test_services_wait_for_services_that_can_be_waited_for(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            awaited = services[name]
            if how["condition"] == "service_healthy":
                assert "test" in awaited["healthcheck"]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert awaited.get("restart", "no").startswith(("no", "on-failure"))


def test_processes_are_given_the_time_they_need_to_end(compose: dict[str, Any]) -> None:
    drain = Settings.model_fields["drain_seconds"].default
    seconds = {
        name: int(s.get("stop_grace_period", "10s")[:-1]) for name, s in own(compose).items()
    }

    assert seconds["api"] > drain + 10
    assert seconds["worker"] > 10


def test_volumes_are_declared(compose: dict[str, Any]) -> None:
    used = {
        volume.partition(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
    }

    assert used == set(compose["volumes"])


def test_settings_of_temporal_are_those_that_the_page_on_operations_explains(
    compose: dict[str, Any],
) -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    (block,) = re.findall(r"```yaml\n(history\..*?)```", page, re.DOTALL)
    explained = yaml.safe_load(block)

    found = yaml.safe_load(compose["configs"]["temporal"]["content"])

    assert found["matching.enableFairness"] == [{"value": True}]
    assert found.items() <= explained.items()
