"""What the schedules of an environment do next, as Temporal tells."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import ScheduleListDescription

from api.dependencies import Dependencies
from api.schemas.overview import UpcomingRun
from api.temporal import temporal_answers
from perdure.db.environments import Environment
from perdure.errors import UnavailableError
from perdure.temporal.names import SearchAttribute

__all__ = ["MOST_SCHEDULES", "upcoming_runs"]

MOST_SCHEDULES = 1_000
"""Where there are more, the next ones are not looked for: Temporal lists them in no order."""

_SHOWN = 10
_PATIENCE = timedelta(seconds=2)


async def upcoming_runs(deps: Dependencies, caller: Environment) -> list[UpcomingRun] | None:
    """Return the next runs of an environment's syncs.

    Returns:
        The next ones first; None where there are too many schedules to look at, or Temporal does
        not answer in time.
    """
    found: list[UpcomingRun] = []
    count = 0
    try:
        async with temporal_answers(_PATIENCE):
            schedules = await deps.temporal.list_schedules(
                f"{SearchAttribute.ENVIRONMENT.name} = '{caller.name}'", page_size=MOST_SCHEDULES
            )
            async for schedule in schedules:
                count += 1
                if count > MOST_SCHEDULES:
                    return None
                run = _next_run(schedule)
                if run is not None:
                    found.append(run)
    except UnavailableError:
        return None
    return sorted(found, key=lambda run: run.at)[:_SHOWN]


def _next_run(schedule: ScheduleListDescription) -> UpcomingRun | None:
    info, state = schedule.info, schedule.schedule
    if info is None or state is None or state.state.paused or not info.next_action_times:
        return None
    # Ids are `sync/<environment>/<integration>/<connection>/<sync>/<variant>`, percent-encoded.
    attributes = schedule.typed_search_attributes
    return UpcomingRun(
        integration=attributes.get(SearchAttribute.INTEGRATION, ""),
        connection_id=attributes.get(SearchAttribute.CONNECTION, ""),
        name=attributes.get(SearchAttribute.SCRIPT, ""),
        variant=schedule.id.rsplit("/", 1)[-1],
        at=info.next_action_times[0],
    )
