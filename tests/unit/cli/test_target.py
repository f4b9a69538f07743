"""Which server a command speaks to, and with whose key."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from perdure.app.cli.errors import CliError
from perdure.app.cli.options import ServerOptions
from perdure.app.cli.target import Target, find_target


def run_dev(folder: Path, url: str = "http://127.0.0.1:3003", key: str = "dev-key") -> None:
    """Leave what a running `perdure dev` leaves."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "api_url": url,
        "secret_key": key,
        "temporal_address": "127.0.0.1:7233",
        "temporal_namespace": "default",
        "temporal_ui_url": "http://127.0.0.1:8233",
        "database_url": "postgresql://",
        "pids": dict.fromkeys(("dev", "api", "worker", "temporal", "postgres"), os.getpid()),
    }
    (folder / "dev.json").write_text(json.dumps(content))


def test_flags_win_over_everything(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (elsewhere / ".env").write_text("NANGO_HOSTPORT=http://file\nNANGO_SECRET_KEY_DEV=file\n")
    monkeypatch.setenv("NANGO_HOSTPORT", "http://environment")

    target = find_target(ServerOptions(server="http://flag/", secret_key="flag"))

    assert target == Target("http://flag", "flag")


def test_file_of_the_project_wins_over_the_environment(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = elsewhere / "project"
    project.mkdir()
    (project / ".env").write_text("NANGO_HOSTPORT=http://file\nNANGO_SECRET_KEY_DEV=file\n")
    monkeypatch.setenv("NANGO_HOSTPORT", "http://environment")
    monkeypatch.setenv("NANGO_SECRET_KEY_DEV", "environment")

    assert find_target(ServerOptions(project=project)) == Target("http://file", "file")
    assert find_target(ServerOptions()) == Target("http://environment", "environment")


def test_empty_lines_of_the_file_count_as_not_there(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / ".env").write_text("NANGO_HOSTPORT=\nNANGO_SECRET_KEY_DEV=\n")
    monkeypatch.setenv("NANGO_HOSTPORT", "http://environment")
    monkeypatch.setenv("NANGO_SECRET_KEY_DEV", "environment")

    assert find_target(ServerOptions()) == Target("http://environment", "environment")


@pytest.mark.parametrize("folder", [".perdure", "project/.perdure"])
def test_running_dev_is_found_in_the_current_and_the_project_folder(
    elsewhere: Path, folder: str
) -> None:
    run_dev(elsewhere / folder)

    target = find_target(ServerOptions(project=Path("project")))

    assert target == Target("http://127.0.0.1:3003", "dev-key")


def test_named_data_folder_is_the_only_one_looked_into(elsewhere: Path) -> None:
    run_dev(elsewhere / ".perdure")
    run_dev(elsewhere / "data", url="http://127.0.0.1:4")

    assert find_target(ServerOptions(data_dir=Path("data"))).server == "http://127.0.0.1:4"
    with pytest.raises(CliError, match="No server"):
        find_target(ServerOptions(data_dir=Path("empty")))


def test_dev_that_has_ended_does_not_count(elsewhere: Path) -> None:
    run_dev(elsewhere / ".perdure")
    file = elsewhere / ".perdure" / "dev.json"
    content = json.loads(file.read_text())
    content["pids"]["dev"] = 2**22 + 1
    file.write_text(json.dumps(content))

    with pytest.raises(CliError, match="No server"):
        find_target(ServerOptions())


def test_key_of_running_dev_goes_to_no_other_server(elsewhere: Path) -> None:
    run_dev(elsewhere / ".perdure")

    with pytest.raises(CliError, match="No secret key for https://prod"):
        find_target(ServerOptions(server="https://prod.test"))


def test_key_of_running_dev_is_not_that_of_another_environment(elsewhere: Path) -> None:
    run_dev(elsewhere / ".perdure")

    with pytest.raises(CliError) as caught:
        find_target(ServerOptions(), "eu-prod")

    assert "NANGO_SECRET_KEY_EU_PROD" in (caught.value.hint or "")


def test_each_environment_has_a_key_of_its_own(elsewhere: Path) -> None:
    (elsewhere / ".env").write_text(
        "NANGO_HOSTPORT=http://x\nNANGO_SECRET_KEY_DEV=dev\nNANGO_SECRET_KEY_PROD=prod\n"
    )

    assert find_target(ServerOptions(), "prod").secret_key == "prod"
    assert find_target(ServerOptions()).secret_key == "dev"


def test_key_is_not_part_of_the_representation() -> None:
    assert "s3cret" not in repr(Target("http://x", "s3cret"))
