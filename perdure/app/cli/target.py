"""Finds the server a command speaks to: flags, the project's `.env`, the environment, `dev.json`.

A key never goes to a server it was not meant for: the key of a running `perdure dev` is used for
its own address only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, SecretStr, create_model
from pydantic_settings import DotEnvSettingsSource

from config.settings import ClientSettings
from perdure.app.cli.errors import CliError
from perdure.app.cli.options import DATA_DIR, ServerOptions
from perdure.app.dev import DevFile, read_dev_file

__all__ = ["DEV", "Target", "find_target"]

DEV = "dev"
"""The environment that commands work with unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and the key of one of its environments.

    Attributes:
        server: Base URL.
        secret_key: Key of the environment.
    """

    server: str
    secret_key: str = field(repr=False)


def find_target(options: ServerOptions, environment: str = DEV) -> Target:
    """Return the server and key that a command is to use.

    Args:
        options: What the command line says.
        environment: Whose key: `NANGO_SECRET_KEY_<ENVIRONMENT>`.

    Raises:
        CliError: There is no server, or no key for it.
    """
    settings = _settings(options.project, environment)
    server = options.server or settings.server or None
    key = options.secret_key or _revealed(settings.secret_key)
    if server is None or key is None:
        running = _running_dev(options)
        if running is not None and server in {None, running.api_url}:
            server = running.api_url
            if environment == DEV:
                key = key or _revealed(running.secret_key)
    if server is None:
        msg = "No server: none is given, and no `perdure dev` runs here"
        hint = "start `perdure dev`, or give --server or NANGO_HOSTPORT"
        raise CliError(msg, code="no_server", hint=hint)
    if key is None:
        variable = _key_variable(environment)
        msg = f"No secret key for {server}"
        hint = f"give --secret-key, or {variable} in the environment or in {options.project}/.env"
        raise CliError(msg, code="no_secret_key", hint=hint)
    return Target(server.rstrip("/"), key)


def _settings(project: Path, environment: str) -> ClientSettings:
    model = ClientSettings
    if environment != DEV:
        model = create_model(
            "_EnvironmentSettings",
            __base__=ClientSettings,
            secret_key=(
                SecretStr | None,
                Field(default=None, validation_alias=_key_variable(environment)),
            ),
        )
    # Whoever stands in a project means its server: its file wins over the environment.
    file = DotEnvSettingsSource(model, env_file=project / ".env", env_ignore_empty=True)
    return model(**file())


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() or None if secret else None


def _key_variable(environment: str) -> str:
    return f"NANGO_SECRET_KEY_{environment.upper().replace('-', '_')}"


def _running_dev(options: ServerOptions) -> DevFile | None:
    if options.data_dir is not None:
        return read_dev_file(options.data_dir)
    for folder in (options.project / DATA_DIR, DATA_DIR):
        found = read_dev_file(folder)
        if found is not None:
            return found
    return None
