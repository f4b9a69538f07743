"""What happens at the moment of a deploy: connections that are made, runs that start or end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from activities.erasure import Erasure
from activities.maintenance import Sweep
from activities.reconciliation import Reconciler
from activities.schedule_repair import ScheduleRepair
from activities.sync_runs import SyncRuns
from activities.sync_schedules import SyncSchedules
from perdure.db.environments import Environment, EnvironmentStore
from perdure.db.runs import RunStatus
from tests.support.deploys import Deploys, before_first, files
from tests.support.project import WAITING


async def test_connection_that_is_made_during_a_whole_deploy_gets_its_syncs(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await env.deploy(files("issues: Issue, auto_start false"))
    acme = await env.connect()
    deploy = lambda: env.deploy(files("tickets: Issue"))  # noqa: E731
    before_first(monkeypatch, SyncSchedules, "ensure", deploy)

    await env.follow_new_connection(acme)

    assert await env.syncs_of(acme) == {"tickets"}
    assert await env.has_schedule(acme, "tickets")
    assert not await env.has_schedule(acme, "issues")
    await env.ended(1, script="tickets")
    assert len(await env.stack.records(acme)) == 2, "what the new sync saved stays"


async def test_connection_that_is_made_between_activation_and_its_batch_gets_its_syncs(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await env.deploy(files("issues: Issue, auto_start false"))
    acme = await env.connect()
    project = files("tickets: Issue")

    async def saved_and_activated() -> None:
        await env.save(acme, "Issue", 5)
        await env.activate(project)

    before_first(monkeypatch, SyncSchedules, "ensure", saved_and_activated)

    await env.follow_new_connection(acme)

    assert await env.syncs_of(acme) == {"tickets"}
    assert await env.has_schedule(acme, "tickets")
    assert not await env.has_schedule(acme, "issues")
    await env.ended(1, script="tickets")
    before = await env.stack.records(acme)
    assert {record["_nango_metadata"]["last_action"] for record in before} == {"ADDED"}
    assert len(before) == 2, "the new sync starts from nothing"
    await env.deploy(project)
    assert await env.stack.records(acme) == before, "the batch finds everything done"


async def test_deploy_holds_while_schedules_are_restored(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    container, own = env.stack.container, env.stack.environment
    await env.deploy(files("issues: Issue, auto_start false", "people: Person, auto_start false"))
    acme = await env.connect()
    # As after its schedules were lost.
    await container.database.syncs.ensure_all([(acme.key, "issues"), (acme.key, "people")])
    deploy = lambda: env.deploy(files("issues: Issue, runs every 3h, auto_start false"))  # noqa: E731
    before_first(monkeypatch, SyncSchedules, "ensure", deploy)

    async def only_this_one(store: EnvironmentStore) -> list[Environment]:
        return [await store.by_id(own.id)]

    monkeypatch.setattr(EnvironmentStore, "all", only_this_one)
    database, schedules = container.database, container.schedules
    runs = SyncRuns(database, container.temporal, schedules)
    erasure = Erasure(database, container.bundles)
    reconciler = Reconciler(database, container.bundles, schedules, erasure, runs)
    repair = ScheduleRepair(database, container.temporal, reconciler)
    await ActivityEnvironment().run(repair.restore_schedules, Sweep())

    assert await env.syncs_of(acme) == {"issues"}
    assert not await env.has_schedule(acme, "people")
    assert await env.interval(acme, "issues") == timedelta(hours=3)


async def test_connection_that_is_made_before_activation_is_left_to_the_deploy(
    env: Deploys,
) -> None:
    await env.deploy(files("issues: Issue, auto_start false"))
    acme = await env.connect()
    await env.follow_new_connection(acme)

    await env.deploy(files("tickets: Issue, auto_start false"))

    assert await env.syncs_of(acme) == {"tickets"}
    assert not await env.has_schedule(acme, "issues")


async def test_what_a_run_saves_after_its_model_was_erased_is_erased_at_its_end(
    env: Deploys,
) -> None:
    acme = await env.connect()
    await env.deploy(files("issues: Issue", issues=WAITING))
    await env.saved(acme)

    await env.deploy(files("issues: Ticket, auto_start false"))

    assert await env.held(acme) == set()
    await env.stack.go(acme)
    (run,) = await env.ended(1)
    assert run.status is RunStatus.SUCCESS
    assert run.counts["Issue"]["added"] == 2, "the run did save"
    assert await env.held(acme) == set()
    logs = await env.stack.container.database.runs.logs(run.id)
    assert any("Issue" in line.message and "erased" in line.message for line in logs)


async def test_failed_run_leaves_nothing_of_an_erased_model_either(env: Deploys) -> None:
    acme = await env.connect()
    failing = WAITING + "    raise ValueError('no')\n"
    await env.deploy(files("issues: Issue", issues=failing))
    await env.saved(acme)

    await env.deploy(files("issues: Ticket, auto_start false"))
    await env.stack.go(acme)

    (run,) = await env.ended(1)
    assert run.status is RunStatus.FAILED
    assert await env.held(acme) == set()


async def test_what_a_run_saves_into_a_model_that_another_sync_took_over_stays(
    env: Deploys,
) -> None:
    acme = await env.connect()
    await env.deploy(files("issues: Issue", "people: Person, auto_start false", issues=WAITING))
    await env.saved(acme)

    await env.deploy(
        files("issues: Ticket, auto_start false", "people: Person+Issue, auto_start false")
    )
    await env.stack.go(acme)

    await env.ended(1)
    assert {record["id"] for record in await env.stack.records(acme)} == {"1", "2"}


async def test_what_a_run_saves_into_a_model_that_is_declared_stays(env: Deploys) -> None:
    acme = await env.connect()
    await env.deploy(files("issues: Issue", issues=WAITING))
    await env.saved(acme)

    await env.deploy(files("issues: Issue+Label, auto_start false"))
    await env.stack.go(acme)

    await env.ended(1)
    assert await env.held(acme) == {("acme", "Issue")}


async def test_run_that_starts_while_its_sync_is_removed_does_nothing(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = await env.connect()
    await env.deploy(files("issues: Issue, auto_start false"))
    deploy = lambda: env.deploy(files("tickets: Issue, auto_start false"))  # noqa: E731
    before_first(monkeypatch, EnvironmentStore, "hold_bundle", deploy)

    result = await env.stack.run_sync(acme)

    assert result.skipped
    assert await env.runs() == []
    assert await env.syncs_of(acme) == {"tickets"}
    assert await env.held(acme) == set()
