"""Errors as the command line tells them: one line, a hint, an exit code.

Exit codes: 0 it went well, 1 it failed, 2 it was called wrongly, 10 a project does not compile,
11 a deploy failed, 12 a dry run failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

from perdure.errors import PerdureError

__all__ = [
    "ApiError",
    "CliError",
    "CommandFailedError",
    "ExitCode",
    "UsageError",
    "failing_with",
    "hint_for",
]


class ExitCode(IntEnum):
    """How a command ended, for the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    COMPILE = 10
    DEPLOY = 11
    DRY_RUN = 12


class CliError(PerdureError):
    """A command could not do what it was asked for.

    Attributes:
        hint: What to do about it, None where the message says it.
        exit_code: What the process ends with.
    """

    default_code = "command_failed"
    exit_code = ExitCode.FAILED

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, code=code)
        self.hint = hint


class UsageError(CliError):
    """The arguments do not fit together."""

    default_code = "usage"
    exit_code = ExitCode.USAGE


class ApiError(CliError):
    """The server refused a request.

    Attributes:
        status: HTTP status.
        details: One line for each field or place that is wrong.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int,
        details: Sequence[str] = (),
        payload: object = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint_for(code))
        self.status = status
        self.details = tuple(details)
        self.payload = payload


class CommandFailedError(Exception):
    """An error together with the exit code that the command gives it.

    Attributes:
        error: What happened.
        exit_code: What the process ends with.
    """

    def __init__(self, error: PerdureError, exit_code: ExitCode) -> None:
        super().__init__(error.message)
        self.error = error
        self.exit_code = exit_code


@contextmanager
def failing_with(exit_code: ExitCode) -> Iterator[None]:
    """Give errors an exit code.

    Raises:
        CommandFailedError: An error was raised inside.
    """
    try:
        yield
    except PerdureError as error:
        raise CommandFailedError(error, exit_code) from error


_WRONG_KEY = (
    "give the server's key with --secret-key, or as NANGO_SECRET_KEY_DEV in the environment or in "
    "the project's .env"
)
_HINTS = {
    "missing_auth_header": _WRONG_KEY,
    "unknown_account": _WRONG_KEY,
    "invalid_secret_key_format": f"a secret key is a UUID; {_WRONG_KEY}",
    "unknown_connection": "`perdure connections list` shows the connections",
    "unknown_provider_config": "`perdure integrations list` shows the integrations",
    "no_syncs_found": "`perdure deploy` deploys a project's syncs",
    "destructive_changes": "--allow-destructive allows it",
    "target_touches_others": "deploy them together, or allow it with --allow-destructive",
    "concurrent_deployment": "look at the new plan with --dry-run",
    "unknown_run": "`perdure runs list` shows the runs; the id of an action is not that of its run",
    "unknown_deployment": "`perdure deployments list` shows the deployments",
    "temporal_unavailable": "the same command may succeed when Temporal answers again",
    "database_unavailable": "the same command may succeed when Postgres answers again",
    "server_unreachable": "`perdure dev` starts a server on this machine",
    "project_not_found": "name the project folder with --project, or make one with `perdure init`",
    "unknown_api_key": "`perdure api-keys list` shows the keys",
    "unknown_environment": "`perdure environments list` shows the environments",
    "environment_not_empty": "`perdure connections delete` deletes a connection",
    "forbidden": "use the environment's secret key, or one with the scope",
    "encryption_keys_missing": "`perdure keys new` makes a key",
}


def hint_for(code: str) -> str | None:
    """Return what to do about an error by its code, None where there is nothing to add."""
    return _HINTS.get(code)
