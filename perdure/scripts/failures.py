"""What a script's exception becomes: a failure that names the script's file and line.

Only the script's own frames, and those of the libraries it called, are shown; the engine's are
left out. The error's code says what kind of failure it was, so that nobody has to read prose:

- `action_script_runtime_error`: the script raised `ActionError`
- `script_http_error`: the external API refused a request and the script did not handle it
- the code of a `HelperError`: a helper call was used wrongly
- `forbidden_in_script`: the script did what workflow code may not do
- `script_import_error`, `script_syntax_error`: the script could not be loaded
- `script_internal_error`: anything else it raised
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import TracebackType
from typing import Any

from temporalio.exceptions import is_cancelled_exception
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError
from temporalio.workflow import ContinueAsNewError, NondeterminismError

from perdure.nango import ActionError, EachError, HelperError, HttpError, Response
from perdure.scripts.bundle import Bundle
from perdure.scripts.guard import remedy, used_by_script
from perdure.scripts.loader import bundle_file, is_script_file
from perdure.scripts.secrets import KnownSecrets
from perdure.scripts.text import plain_json, shown
from perdure.temporal.converter import ScriptError

__all__ = ["is_control_flow", "script_failure"]

_MAX_TEXT = 8_000
_MAX_BODY = 4_000
_MAX_ITEMS = 100
_ENGINE_PACKAGES = frozenset({"perdure", "workflows", "activities", "temporalio", "asyncio"})


@dataclass(frozen=True, slots=True)
class _Frame:
    file: str
    line: int
    function: str
    source: str
    in_script: bool


def is_control_flow(error: BaseException) -> bool:
    """Say whether an exception is Temporal's business and must pass a script's border as it is.

    Cancellation, eviction and true nondeterminism are; a forbidden call, which the SDK derives
    from nondeterminism, is not.
    """
    if isinstance(error, RestrictedWorkflowAccessError | ContinueAsNewError):
        return False
    if isinstance(error, NondeterminismError | asyncio.CancelledError | GeneratorExit):
        return True
    # The SDK's own signals, such as that of an eviction, are private classes of it.
    of_the_sdk = type(error).__module__.startswith("temporalio.")
    if of_the_sdk and not isinstance(error, Exception):
        return True
    return is_cancelled_exception(error)


def script_failure(
    error: BaseException,
    bundle: Bundle,
    path: str,
    secrets: KnownSecrets | None = None,
    *,
    failed_at: int = 0,
) -> ScriptError:
    """Turn what a script raised into the failure of its run. It works for every exception.

    Args:
        error: The exception.
        bundle: The bundle the script belongs to, for its source lines.
        path: The script's file, named where no frame of it is on the stack.
        secrets: What to hide in text and details.
        failed_at: Length of the run's history when it was raised, for whoever retries the run.
    """
    secrets = secrets or KnownSecrets()
    frames = _frames(error, bundle)
    where = next((f for f in reversed(frames) if f.in_script), None)
    file, line = (where.file, where.line) if where else (path, 1)
    if isinstance(error, SyntaxError) and error.filename and is_script_file(error.filename):
        file, line = bundle_file(error.filename), error.lineno or 1
    code, text, details = _describe(error)
    text = secrets.mask(text)[:_MAX_TEXT]
    trace = secrets.mask(_format(frames, type(error).__name__, text))[:_MAX_TEXT]
    facts = {"file": file, "line": line, "traceback": trace}
    facts |= secrets.mask_all(plain_json(details))
    # What the engine says before or after the script ran is about no line of it.
    about_a_line = where is not None or not isinstance(error, HelperError)
    message = f"{file}:{line}: {text}" if about_a_line else text
    place: dict[str, Any] = {"failed_at": failed_at}
    if isinstance(error, EachError):
        place["failed_call"] = error.call
    return ScriptError(message, facts, place, type=code, script_traceback=trace)


def _describe(error: BaseException) -> tuple[str, str, Mapping[str, Any]]:
    """Return code, text and further facts of an exception."""
    said = shown(error)
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    described: tuple[str, str, Mapping[str, Any]]
    match error:
        case ActionError():
            described = ("action_script_runtime_error", said, {"payload": error.payload})
        case HttpError():
            described = ("script_http_error", said, {"upstream": _upstream(error.response)})
        case EachError():
            facts = {k: v for k, v in error.error.items() if k not in ("type", "message")}
            described = (error.code, said, {**facts, "failed_items": error.failed[:_MAX_ITEMS]})
        case HelperError():
            described = (error.code, said, {})
        case RestrictedWorkflowAccessError():
            described = _forbidden(used_by_script(error))
        case NotImplementedError() if _raised_in_event_loop(error):
            described = _forbidden("asyncio.to_thread")
        case SyntaxError():
            described = ("script_syntax_error", f"SyntaxError: {shown(error.msg)}", {})
        case ImportError():
            described = ("script_import_error", text, {})
        case _:
            described = ("script_internal_error", text, {"name": type(error).__name__})
    return described


def _forbidden(name: str) -> tuple[str, str, Mapping[str, Any]]:
    text = f"a script cannot use {name}: it could not be replayed. {remedy(name)}"
    return "forbidden_in_script", text, {"forbidden": name}


def _upstream(response: Response | None) -> dict[str, Any] | None:
    if response is None:
        return None
    headers = {
        name: value
        for name, value in response.headers.items()
        if name == "content-type" or name.startswith(("x-rate", "retry-after"))
    }
    body = response.data if len(str(response.data)) <= _MAX_BODY else None
    return {"status": response.status, "headers": headers, "body": body}


def _raised_in_event_loop(error: BaseException) -> bool:
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and PurePath(frames[-1][0].f_code.co_filename).parent.name == "asyncio"


def _frames(error: BaseException, bundle: Bundle) -> list[_Frame]:
    frames: list[_Frame] = []
    trace: TracebackType | None = error.__traceback__
    for frame, line in traceback.walk_tb(trace):
        filename = frame.f_code.co_filename
        if is_script_file(filename):
            file = bundle_file(filename)
            source = _line(bundle.files.get(file, ""), line)
            frames.append(_Frame(file, line, frame.f_code.co_name, source, in_script=True))
        elif frames and not _ENGINE_PACKAGES.intersection(PurePath(filename).parts):
            name = "/".join(PurePath(filename).parts[-2:])
            frames.append(_Frame(name, line, frame.f_code.co_name, "", in_script=False))
    return frames


def _line(source: str, number: int) -> str:
    lines = source.splitlines()
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def _format(frames: list[_Frame], name: str, text: str) -> str:
    lines = ["Traceback (most recent call last):"]
    for frame in frames:
        lines.append(f'  File "{frame.file}", line {frame.line}, in {frame.function}')
        if frame.source:
            lines.append(f"    {frame.source}")
    lines.append(text if text.startswith(name) else f"{name}: {text}")
    return "\n".join(lines)
