"""What follows a deploy: schedules, runs and records of all connections, on the real servers."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from config.intervals import parse_runs
from config.project import NangoConfig
from perdure.db.runs import RunStatus
from perdure.temporal.failures import leaf_failure
from perdure.temporal.names import TaskQueue, WorkflowType
from perdure.temporal.payloads import DeployInput, DeployResult
from tests.support.deploys import SAVING, SLEEPING, STUBBORN, Deploys, files
from tests.support.project import WAITING


async def test_new_sync_starts_on_all_connections_of_its_integration(env: Deploys) -> None:
    acme, bolt = await env.connect("acme"), await env.connect("bolt")
    other = await env.connect("acme", "other")

    done = await env.deploy(files("issues: Issue"))

    assert done["schedules"] == {"created": 2, "updated": 0, "deleted": 0}
    assert {run.connection_id for run in await env.ended(2, status=None)} == {"acme", "bolt"}
    assert await env.held(acme, bolt) == {("acme", "Issue"), ("bolt", "Issue")}
    assert not await env.has_schedule(other)


async def test_new_sync_without_auto_start_waits(env: Deploys) -> None:
    acme = await env.connect()

    await env.deploy(files("issues: Issue, auto_start false"))

    status = await env.stack.container.schedules.status(env.stack.sync_input(acme))
    assert status is not None
    assert status.paused
    assert await env.runs() == []


async def test_changed_interval_moves_every_schedule_but_those_that_override_it(
    env: Deploys,
) -> None:
    acme, bolt = await env.connect("acme"), await env.connect("bolt")
    await env.deploy(files("issues: Issue, auto_start false, runs every 1h"))
    syncs = env.stack.container.database.syncs
    await syncs.create_variant(acme.key, "issues", "big", most=100)
    await syncs.set_frequency(bolt.key, "issues", "every 7h")

    done = await env.deploy(files("issues: Issue, auto_start false, runs every 2h"))

    (change,) = done["plan"]["entries"]
    assert change["differences"] == [
        {"what": "schedule", "name": "runs", "old": "every 1h", "new": "every 2h"}
    ]
    assert await env.interval(acme) == timedelta(hours=2)
    assert await env.interval(acme, variant="big") == timedelta(hours=2)
    assert await env.interval(bolt) == timedelta(hours=7)


async def test_removed_sync_ends_its_run_and_takes_schedules_and_records_along(
    env: Deploys,
) -> None:
    acme, bolt = await env.connect("acme"), await env.connect("bolt")
    await env.deploy(files("issues: Issue", "people: Person", issues=SLEEPING % 600))
    for connection in (acme, bolt):
        await env.saved(connection)
        await env.saved(connection, "Person")

    done = await env.deploy(files("people: Person"))

    assert done["schedules"] == {"created": 0, "updated": 2, "deleted": 2}
    assert done["records_erased"] == 2
    assert await env.held(acme, bolt) == {("acme", "Person"), ("bolt", "Person")}
    ended = await env.runs(script="issues")
    assert [run.status for run in ended] == [RunStatus.CANCELLED] * 2
    for connection in (acme, bolt):
        assert not await env.has_schedule(connection)
        assert await env.has_schedule(connection, "people")
    left = await env.stack.container.database.syncs.list(env.stack.environment.id)
    assert [row.name for row in left] == ["people", "people"]


async def test_run_that_will_not_be_cancelled_is_ended_all_the_same(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.endings._PATIENCE", timedelta(seconds=0.5))
    acme = await env.connect()
    await env.deploy(files("issues: Issue", issues=STUBBORN))
    await env.saved(acme)

    await env.deploy(files("people: Person, auto_start false"))

    (run,) = await env.runs(script="issues")
    assert run.status is RunStatus.CANCELLED
    handle = env.stack.container.temporal.get_workflow_handle(run.workflow_id, run_id=run.id)
    description = await handle.describe()
    assert description.status is not None
    assert description.status.name == "TERMINATED"
    assert await env.held(acme) == set()


async def test_renamed_sync_starts_from_nothing(env: Deploys) -> None:
    acme = await env.connect()
    await env.deploy(files("issues: Issue"))
    await env.ended(1)
    before = await env.stack.records(acme)

    done = await env.deploy(files("tickets: Issue"))

    assert done["records_erased"] == 2
    (run,) = await env.ended(1, script="tickets")
    assert run.counts["Issue"]["added"] == 2
    after = await env.stack.records(acme)
    assert {record["_nango_metadata"]["last_action"] for record in after} == {"ADDED"}
    assert before != after


async def test_step_that_is_done_again_spares_what_the_new_sync_has_saved(env: Deploys) -> None:
    acme = await env.connect()
    old = await env.deploy(files("issues: Issue"))
    await env.ended(1)
    new = await env.deploy(files("tickets: Issue"))
    await env.ended(1, script="tickets")
    records = await env.stack.records(acme)

    again = await env.stack.container.temporal.execute_workflow(
        WorkflowType.DEPLOY,
        DeployInput(
            environment=env.stack.environment.name,
            environment_id=env.stack.environment.id,
            bundle=new["bundle"],
            previous=old["bundle"],
            after=old["deployment_id"],
        ),
        id=f"deploy/{env.stack.environment.name}",
        task_queue=TaskQueue.ACTIONS,
        result_type=DeployResult,
    )

    assert again.deployment_id == new["deployment_id"]
    assert (again.deleted, again.erased) == (0, 0)
    assert await env.stack.records(acme) == records


async def test_sync_that_loses_an_output_model_loses_its_records(env: Deploys) -> None:
    acme = await env.connect()
    await env.deploy(files("issues: Issue+Label, auto_start false"))
    for model in ("Issue", "Label"):
        await env.save(acme, model)

    plan = (await env.deploy(files("issues: Issue, auto_start false")))["plan"]

    assert plan["destructive"]
    assert await env.held(acme) == {("acme", "Issue")}


@pytest.mark.parametrize(
    ("before", "after", "keeper"),
    [
        (
            ("issues: Issue+Label", "people: Person"),
            ("issues: Issue", "people: Person+Label"),
            "people",
        ),
        (("issues: Issue+Label",), ("issues: Issue", "labels: Label"), "labels"),
        (("issues: Label", "people: Person"), ("people: Person+Label",), "people"),
        (("issues: Label",), ("labels: Label",), None),
    ],
)
async def test_plan_says_what_becomes_of_records_whose_model_moves(
    env: Deploys, before: tuple[str, ...], after: tuple[str, ...], keeper: str | None
) -> None:
    acme = await env.connect()
    await env.deploy(files(*(f"{sync}, auto_start false" for sync in before)))
    await env.save(acme, "Label", 3)

    done = await env.deploy(files(*(f"{sync}, auto_start false" for sync in after)))

    (issues,) = [e for e in done["plan"]["entries"] if (e["kind"], e["name"]) == ("sync", "issues")]
    fates = [d for d in issues["differences"] if d["what"] == "records"]
    assert fates == [{"what": "records", "name": "Label", "old": "issues", "new": keeper}]
    assert done["records_erased"] == (0 if keeper else 3)
    assert (("acme", "Label") in await env.held(acme)) == bool(keeper)
    if issues["destructive"]:
        assert issues["records"] == done["records_erased"]


async def test_renamed_model_is_erased_and_made_anew(env: Deploys) -> None:
    acme = await env.connect()
    await env.deploy(files("issues: Issue"))
    await env.ended(1)

    await env.deploy(files("issues: Ticket"))
    await env.stack.run_sync(acme)

    assert await env.held(acme) == {("acme", "Ticket")}


async def test_records_of_a_removed_integration_are_erased(env: Deploys) -> None:
    acme, other = await env.connect("acme"), await env.connect("other", "second")
    await env.deploy(files("issues: Issue, auto_start false"))
    await env.save(acme, "Issue", 3)

    done = await env.deploy(files("issues: Issue, auto_start false", key="second"))

    assert done["records_erased"] == 3
    assert await env.held(acme) == set()
    assert not await env.has_schedule(acme)
    assert await env.has_schedule(other)


async def test_removed_action_is_not_found_from_then_on(env: Deploys) -> None:
    await env.connect()
    await env.deploy(files("issues: Issue, auto_start false"))
    call = {"action_name": "echo", "input": {"a": 1}}
    headers = {"connection-id": "acme", "provider-config-key": "tracker"}
    answer = await env.client.post("/action/trigger", json=call, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"a": 1})
    without = files("issues: Issue, auto_start false")
    yaml = without["nango.yaml"].replace("    actions:\n      echo: {endpoint: POST /echo}\n", "")

    await env.deploy({**without, "nango.yaml": yaml})

    answer = await env.client.post("/action/trigger", json=call, headers=headers)
    assert answer.status_code == 404


async def test_run_in_flight_finishes_on_the_bundle_it_started_with(env: Deploys) -> None:
    acme = await env.connect()
    first = await env.deploy(files("issues: Issue", issues=WAITING))
    await env.saved(acme)

    second = await env.deploy(files("issues: Issue", issues=SAVING % ("new", "new", "Issue")))

    (run,) = await env.runs()
    assert run.status is RunStatus.RUNNING, "the deploy came in the middle"
    await env.stack.go(acme)
    (run,) = await env.ended(1)
    assert (run.status, run.bundle_hash) == (RunStatus.SUCCESS, first["bundle"])
    titles = {record["id"]: record["title"] for record in await env.stack.records(acme)}
    assert titles == {"1": "saved", "2": "old"}
    await env.stack.run_sync(acme)
    (newest, _) = await env.runs()
    assert newest.bundle_hash == second["bundle"]


async def test_part_of_a_project_is_deployed_and_the_rest_stays(env: Deploys) -> None:
    acme = await env.connect()
    await env.deploy(files("issues: Issue, auto_start false", "people: Person, auto_start false"))
    for model in ("Issue", "Person"):
        await env.save(acme, model)

    target = {"sync": "issues"}
    done = await env.deploy(
        files("issues: Issue, auto_start false, runs every 3h"),
        target=target,
        allow_destructive=False,
    )

    assert [entry["name"] for entry in done["plan"]["entries"]] == ["issues"]
    assert await env.interval(acme) == timedelta(hours=3)
    assert await env.has_schedule(acme, "people")
    assert await env.held(acme) == {("acme", "Issue"), ("acme", "Person")}


async def test_rollback_puts_back_what_was_removed(env: Deploys) -> None:
    acme = await env.connect()
    first = await env.deploy(files("issues: Issue, auto_start false, runs every 1h"))
    await env.deploy(files("people: Person, auto_start false"))

    body = {"bundle": first["bundle"], "allow_destructive": True}
    answer = await env.client.post("/deployments", json=body)

    back = answer.json()
    assert answer.status_code == 200, back
    assert back["deployment_id"] > first["deployment_id"]
    assert back["bundle"] == first["bundle"]
    assert {(e["change"], e["name"]) for e in back["plan"]["entries"]} == {
        ("added", "issues"),
        ("removed", "people"),
        ("added", "Issue"),
        ("removed", "Person"),
    }
    assert await env.interval(acme) == timedelta(hours=1)
    assert not await env.has_schedule(acme, "people")


async def test_three_hundred_connections_are_handled_in_batches(env: Deploys) -> None:
    await env.connect_many(300)

    made = await env.deploy(files("issues: Issue, auto_start false"))

    assert made["plan"]["entries"][0]["connections"] == 300
    # A slow machine takes longer than an answer waits for it.
    first = await env.deploy_handle().result()
    assert (first.created, first.updated, first.deleted) == (300, 0, 0)
    await env.save_many("Issue", 10)

    gone = await env.deploy(files("people: Person, auto_start false"))

    removed = next(e for e in gone["plan"]["entries"] if e["name"] == "issues")
    assert (removed["connections"], removed["records"]) == (300, 3_000)
    came_to = await env.deploy_handle().result()
    assert (came_to.created, came_to.updated, came_to.deleted) == (300, 0, 300)
    assert came_to.erased == 3_000
    history = await env.deploy_handle().fetch_history()
    steps = Counter(
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    )
    assert steps == {"check_schedules": 1, "activate_bundle": 1, "reconcile_connections": 7}


async def test_calendar_is_asked_of_the_server_and_leaves_nothing_behind(env: Deploys) -> None:
    acme = await env.connect()

    done = await env.deploy(
        files('issues: Issue, auto_start false, runs "cron: 0 6 * * MON-FRI Europe/Berlin"')
    )

    assert await env.has_schedule(acme)
    name = f"check/{env.stack.environment.name}/{done['bundle'][:12]}"
    with pytest.raises(RPCError) as missing:
        await env.stack.container.temporal.get_schedule_handle(name).describe()
    assert missing.value.status is RPCStatusCode.NOT_FOUND


async def test_calendar_that_the_server_refuses_changes_nothing(
    env: Deploys, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await env.deploy(files("issues: Issue, auto_start false"))
    # It stands for whatever the server alone refuses: our own parser refuses it before.
    wrong = parse_runs("cron: 0 6 * * *")
    object.__setattr__(wrong, "cron", "0 6 * * 99")
    read_config = NangoConfig.from_json

    def refused(data: Any) -> NangoConfig:
        read = read_config(data)
        for integration in read.integrations:
            for sync in integration.syncs:
                if sync.interval.cron:
                    object.__setattr__(sync, "interval", wrong)
        return read

    monkeypatch.setattr(NangoConfig, "from_json", staticmethod(refused))
    answer = await env.deploy(
        files('issues: Issue, auto_start false, runs "cron: 0 6 * * *"'), expect=400
    )

    assert answer["error"]["code"] == "invalid_runs"
    latest = await env.stack.container.database.bundles.latest(env.stack.environment.id)
    assert latest is not None
    assert latest.id == first["deployment_id"]


async def test_deploy_that_was_overtaken_changes_nothing(env: Deploys) -> None:
    first = await env.deploy(files("issues: Issue, auto_start false"))
    second = await env.deploy(files("people: Person, auto_start false"))
    container = env.stack.container

    with pytest.raises(WorkflowFailureError) as failed:
        await container.temporal.execute_workflow(
            WorkflowType.DEPLOY,
            DeployInput(
                environment=env.stack.environment.name,
                environment_id=env.stack.environment.id,
                bundle=first["bundle"],
                previous=None,
                after=0,
            ),
            id=f"deploy/{env.stack.environment.name}",
            task_queue=TaskQueue.ACTIONS,
        )

    leaf = leaf_failure(failed.value)
    assert isinstance(leaf, ApplicationError)
    assert leaf.type == "concurrent_deployment"
    active = await container.database.bundles.active(env.stack.environment.id)
    assert active is not None
    assert active.hash == second["bundle"]
