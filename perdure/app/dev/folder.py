"""The data folder of `perdure dev`: everything that outlives a run lies in it.

    dev.json       where the running stack is (mode 0600); only there while it runs
    secrets.json   the API key and the encryption keys (mode 0600), made once
    lock           held by every process of the running stack
    postgres/      the database's cluster
    temporal.db    Temporal's state
    logs/          one file a process

Files with secrets appear with their final content or not at all.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import uuid
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_serializer

from perdure.errors import StartupError

__all__ = ["DataFolder", "DevFile", "Pids", "Secrets", "data_folder", "read_dev_file"]

_DEV_FILE = "dev.json"
_SECRETS_FILE = "secrets.json"


class Pids(BaseModel):
    """Process ids of the stack."""

    model_config = ConfigDict(frozen=True)

    dev: int
    api: int
    worker: int
    temporal: int
    postgres: int


class DevFile(BaseModel):
    """Where a running stack is: the content of `dev.json`.

    Attributes:
        metrics_urls: Where each process of ours serves its metrics.
    """

    model_config = ConfigDict(frozen=True)

    api_url: str
    secret_key: SecretStr
    temporal_address: str
    temporal_namespace: str
    temporal_ui_url: str
    database_url: str
    metrics_urls: dict[str, str] = {}
    pids: Pids

    @field_serializer("secret_key", when_used="json")
    def _reveal(self, value: SecretStr) -> str:
        return value.get_secret_value()


class Secrets(BaseModel):
    """The secrets of a data folder; they hold for its life.

    Attributes:
        secret_key: Key of the `dev` environment for the API, a UUID.
        encryption_keys: Key ring of the database and of Temporal payloads.
    """

    model_config = ConfigDict(frozen=True)

    secret_key: SecretStr
    encryption_keys: SecretStr


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The data folder of a stack, whose lock the caller holds.

    Attributes:
        path: Absolute path.
    """

    path: Path

    @property
    def temporal_db(self) -> Path:
        """Temporal's state."""
        return self.path / "temporal.db"

    @property
    def worker_ready(self) -> Path:
        """The file that a worker creates when it has begun to poll."""
        return self.path / "worker.ready"

    def log(self, name: str) -> Path:
        """Return the log of a process."""
        return self.path / "logs" / f"{name}.log"

    def secrets(self) -> Secrets:
        """Return the secrets of this folder, made on first use.

        Raises:
            StartupError: They cannot be read, or are gone while the data they open is there.
        """
        file = self.path / _SECRETS_FILE
        try:
            return Secrets.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            if self.temporal_db.exists():
                message = (
                    f"{file} is gone, and the data in {self.path} cannot be decrypted without it; "
                    "put it back, or choose another data folder"
                )
                raise StartupError(message, code="secrets_missing") from None
        except (OSError, ValidationError) as error:
            message = f"{file} cannot be read; put it back, or choose another data folder"
            raise StartupError(message, code="secrets_unreadable") from error
        made = {
            "secret_key": str(uuid.uuid4()),
            "encryption_keys": f"dev1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        }
        _write_private(file, json.dumps(made))
        return Secrets.model_validate(made)

    def write_dev_file(self, content: DevFile) -> None:
        """Tell other programs where the stack is."""
        _write_private(self.path / _DEV_FILE, content.model_dump_json(indent=2))

    def remove_dev_file(self) -> None:
        """Tell other programs that there is no stack."""
        (self.path / _DEV_FILE).unlink(missing_ok=True)


def data_folder(path: Path) -> DataFolder:
    """Return the data folder at a path, which need not exist yet."""
    return DataFolder(path.expanduser().resolve())


def read_dev_file(data_dir: Path) -> DevFile | None:
    """Return where the stack of a data folder is, None when none runs."""
    try:
        content = DevFile.model_validate_json((data_dir / _DEV_FILE).read_bytes())
        os.kill(content.pids.dev, 0)
    except (OSError, ValidationError):
        return None
    return content


def _write_private(file: Path, content: str) -> None:
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
        new.write(f"{content}\n")
        new.flush()
        os.fsync(new.fileno())
    unfinished.replace(file)
