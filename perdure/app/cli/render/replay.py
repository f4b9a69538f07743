"""Replays as people and programs read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from perdure._version import __version__
from perdure.app.cli.render.answers import failure_of_run
from perdure.app.cli.render.terminal import note, plain_lines, say, show

if TYPE_CHECKING:
    from perdure.app.replay import Replay, Step

__all__ = ["plain_replay", "replay"]

_LAST_STEPS = 5


def replay(document: Mapping[str, Any], found: Replay, *, is_local: bool) -> None:
    """Print what came of a replay."""
    run = document["run"]
    if document["version"] != __version__:
        note(
            f"warning: the server runs Perdure {document['version']}, this is {__version__}; "
            "what differs may be the engine's doing"
        )
    whose = "the script of this folder" if is_local else f"bundle {str(run['bundle'])[:12]}"
    what = f"{run['kind']} {run['integration']}/{run['script']}, {whose}"
    if found.mismatch is not None:
        say(f"Does not replay: {what} does something else than the run did.")
        show(plain_lines(found.mismatch))
        _last_steps(found)
        if is_local:
            note("hint: start a new run instead of retrying this one")
        return
    count = min(found.recorded, len(found.steps))
    done = f"{count:,} {'step' if count == 1 else 'steps'}"
    if found.is_part and found.error is None:
        say(f"Fits: {what} does the {done} before the failure in the same way, and then goes on.")
        if found.following:
            _step(found.following[0], "next")
        again = found.same_answer
        if again is not None and again.mismatch is None and again.error is not None:
            say("Given the same answer once more, it fails:")
            failure_of_run({"error": again.error})
        note("hint: deploy it, then `perdure runs retry --newest` lets the run go on from there")
        return
    if found.error is not None and is_local:
        say(f"Fits, but fails again: {what} does the {done} in the same way.")
    else:
        say(f"Replays: {what}, {done}.")
    failure_of_run({"error": found.error})


def plain_replay(document: Mapping[str, Any], found: Replay) -> dict[str, Any]:
    """Return what came of a replay, for programs."""
    return {
        "run": document["run"]["id"],
        "fits": found.mismatch is None,
        "mismatch": found.mismatch,
        "error": found.error,
        "steps": [
            {"name": step.name, "summary": step.summary, "place": step.place}
            for step in found.steps
        ],
        "recorded": found.recorded,
    }


def _last_steps(found: Replay) -> None:
    if found.steps:
        say("What it asked for last:")
    for step in found.steps[-_LAST_STEPS:]:
        _step(step, "")


def _step(step: Step, label: str) -> None:
    where = f"{step.place}: " if step.place else ""
    start = f"  {label}: " if label else "  "
    show(Text(start, style="dim") + plain_lines(f"{where}{step.name}  {step.summary}"))
