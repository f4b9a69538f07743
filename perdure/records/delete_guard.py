"""Whether a deletion looks so much like a mistake that somebody has to confirm it."""

from __future__ import annotations

from perdure.ids import BASE_VARIANT

__all__ = ["SMALL_MODEL", "held_message", "must_be_confirmed"]

SMALL_MODEL = 100
"""Up to so many records, any share of them may go."""


def must_be_confirmed(*, live: int, absent: int, saw_any: bool, share: float | None) -> bool:
    """Say whether the records that a sync did not see must stay until somebody confirms it.

    Args:
        live: How many records are there.
        absent: How many of them would be deleted.
        saw_any: Whether the sync saved any record at all; an answer that is empty by mistake is
            the commonest way to lose everything.
        share: Share of the records that may go, None for no such limit.
    """
    if share is None or absent == 0:
        return False
    if not saw_any:
        return True
    return live > SMALL_MODEL and absent > share * live


def held_message(
    what: str,
    model: str,
    *,
    integration: str,
    sync: str,
    connection_id: str,
    variant: str,
    next_run: str = "the next run that succeeds",
) -> str:
    """Say that a deletion waits for somebody's word, and how to give it.

    Args:
        what: How many records of how many.
        model: Name of the model.
        integration: Key of the integration.
        sync: Name of the sync.
        connection_id: Name of the connection.
        variant: Variant of the sync.
        next_run: Which run decides anew.
    """
    command = f"perdure syncs confirm-deletes {integration} {sync} {connection_id} --model {model}"
    if variant != BASE_VARIANT:
        command += f" --variant {variant}"
    return (
        f"{what} were not seen and would have been deleted. That is so many that nothing was. "
        f"`{command}` deletes them, with `--dismiss` they stay; {next_run} decides "
        "anew."
    )
