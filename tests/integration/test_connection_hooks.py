"""Scripts that run on the events of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer

from activities.connection_starts import start_awaited
from perdure.db.runs import Run, RunStatus
from tests.api.calls import error_of
from tests.support.deploys import Deploys
from tests.support.hooks import HookTarget, hook_target, with_hooks
from tests.support.project import project
from tests.support.receiver import Receiver

QUERY = {"provider_config_key": "tracker"}
FAILING = "async def on_event(nango):\n    raise ValueError('no luck')\n"
REFUSING = """
from perdure import ActionError

async def on_event(nango):
    raise ActionError({"message": "the key is for another account", "hint": "ask support"})
"""


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture
def target() -> Iterator[HookTarget]:
    with hook_target() as target:
        yield target


@pytest.fixture
def url(target: HookTarget) -> str:
    return target.url


@pytest.fixture
async def hooked(env: Deploys) -> Deploys:
    new = {"provider": "generic-api-key", "unique_key": "tracker"}
    assert (await env.client.post("/integrations", json=new)).status_code == 200
    return env


async def create(
    env: Deploys, url: str, name: str | None = "acme", key: str = "k1", **more: Any
) -> httpx.Response:
    body = {
        "provider_config_key": "tracker",
        "credentials": {"type": "API_KEY", "api_key": key},
        "connection_config": {"baseUrl": url},
        **({"connection_id": name} if name else {}),
        **more,
    }
    return await env.client.post("/connections", json=body)


async def delete(env: Deploys, name: str = "acme") -> httpx.Response:
    return await env.client.delete(f"/connections/{name}", params=QUERY)


async def shown(env: Deploys, name: str = "acme") -> dict[str, Any]:
    answer = await env.client.get(f"/connections/{name}", params=QUERY)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def hook_runs(env: Deploys, **conditions: Any) -> list[Run]:
    """Runs of hooks, the oldest first."""
    return list(reversed(await env.runs(kind="on-event", **conditions)))


def outcome(runs: list[Run]) -> list[tuple[str, str]]:
    return [(run.script, run.status.value) for run in runs]


async def test_hooks_of_a_creation_run_in_order_before_the_syncs(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    await hooked.deploy(
        with_hooks(validate=["check", "scope"], create=["greet", "set-up"], auto_start=True)
    )

    answer = await create(hooked, url)

    assert answer.status_code == 200, answer.text
    assert target.calls == ["check", "scope", "greet", "set-up"]
    runs = await hook_runs(hooked)
    assert outcome(runs) == [(name, "success") for name in target.calls]
    assert {run.bundle_hash for run in runs} == {
        (await hooked.stack.container.database.bundles.active(hooked.stack.environment.id)).hash
    }
    assert "/post-connection-creation/greet/" in runs[2].workflow_id
    (sync,) = await hooked.ended(1, kind="sync")
    assert sync.started_at > runs[-1].finished_at


async def test_only_schedules_take_a_task_of_their_own_where_a_connection_has_no_hooks(
    hooked: Deploys, url: str
) -> None:
    await hooked.deploy(with_hooks(auto_start=False))

    assert (await create(hooked, url)).status_code == 200

    name = f"connection-create/{hooked.stack.environment.name}/tracker/acme"
    history = await hooked.stack.container.temporal.get_workflow_handle(name).fetch_history()
    steps = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert steps == ["ensure_connection_schedules"]


async def test_refused_connection_is_gone_and_its_caller_hears_why(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    scripts = {"check": REFUSING}
    await hooked.deploy(with_hooks(validate=["check"], create=["greet"], scripts=scripts))

    answer = await create(hooked, url)

    assert error_of(answer) == (400, "connection_validation_failed")
    assert "the key is for another account" in answer.text
    assert target.calls == []
    assert (await hooked.client.get("/connections")).json() == {"connections": []}
    assert outcome(await hook_runs(hooked)) == [("check", "failed")]
    assert await hooked.runs(kind="sync") == []


async def test_connection_whose_new_credentials_are_refused_is_marked_until_good_ones_come(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    await hooked.deploy(with_hooks(validate=["check"], create=["greet"]))
    assert (await create(hooked, url)).json()["errors"] == []
    target.answers["check"] = 403

    refused = await create(hooked, url, key="k2")

    assert error_of(refused) == (400, "connection_validation_failed")
    last = (await hook_runs(hooked))[-1]
    assert outcome([last]) == [("check", "failed")]
    wrong = [{"type": "auth", "log_id": last.id}]
    assert (await shown(hooked))["errors"] == wrong
    listed = (await hooked.client.get("/connections")).json()["connections"]
    assert [found["errors"] for found in listed] == [wrong]

    del target.answers["check"]
    assert (await create(hooked, url, key="k3")).json()["errors"] == []
    assert target.keys["check"] == ["Bearer k1", "Bearer k2", "Bearer k3"]
    assert target.counted["greet"] == 1, "it is for new connections"


async def test_refused_credentials_are_told_to_the_application(
    hooked: Deploys, url: str, httpserver: HTTPServer
) -> None:
    receiver = Receiver(httpserver)
    await hooked.client.patch("/environment/webhooks", json={"primary_url": receiver.url})
    passing = "async def on_event(nango): ..."
    await hooked.deploy(with_hooks(validate=["check"], scripts={"check": passing}))
    assert (await create(hooked, url, "there")).status_code == 200
    await receiver.until(1)
    await hooked.deploy(with_hooks(validate=["check"], scripts={"check": REFUSING}))

    await create(hooked, url, "acme", tags={"plan": "free"})
    await receiver.until(2)
    await create(hooked, url, "there", key="k2")

    _, new, old = (received.payload for received in await receiver.until(3))
    assert new == {
        "from": "nango",
        "type": "auth",
        "operation": "creation",
        "connectionId": "acme",
        "authMode": "API_KEY",
        "providerConfigKey": "tracker",
        "provider": "generic-api-key",
        "environment": hooked.stack.environment.name,
        "success": False,
        "tags": {"plan": "free"},
        "error": {
            "type": "connection_validation_failed",
            "description": "tracker/on-events/check.py:5: the key is for another account",
        },
    }
    assert (old["connectionId"], old["operation"], old["success"]) == ("there", "override", False)


async def test_reconnect_leaves_paused_syncs_paused(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    await hooked.deploy(with_hooks(validate=["check"]))
    await create(hooked, url)
    connection = (
        await hooked.stack.container.database.connections.list(hooked.stack.environment.id)
    )[0]
    sync = hooked.stack.sync_input(connection)
    await hooked.stack.container.schedules.pause(sync)

    assert (await create(hooked, url, key="k2")).status_code == 200

    status = await hooked.stack.container.schedules.status(sync)
    assert status is not None
    assert status.paused


async def test_failing_hook_of_a_creation_keeps_the_connection(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    scripts = {"greet": FAILING}
    await hooked.deploy(with_hooks(create=["greet", "set-up"], scripts=scripts))

    assert (await create(hooked, url)).status_code == 200

    runs = await hook_runs(hooked)
    assert outcome(runs) == [("greet", "failed"), ("set-up", "success")]
    assert runs[0].error is not None
    assert "no luck" in runs[0].error["message"]
    assert runs[0].error["file"] == "tracker/on-events/greet.py"
    assert (await shown(hooked))["errors"] == []


async def test_failed_hook_of_a_creation_can_be_retried(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    await hooked.deploy(with_hooks(create=["greet"]))
    target.answers["greet"] = 400
    await create(hooked, url)
    (run,) = await hook_runs(hooked)
    del target.answers["greet"]

    answer = await hooked.client.post(f"/runs/{run.id}/retry")

    assert answer.status_code == 200, answer.text
    await hooked.ended(1, kind="on-event", status=RunStatus.SUCCESS)
    assert target.calls == ["greet", "greet"]


async def test_transient_faults_are_waited_out(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    await hooked.deploy(with_hooks(create=["greet"]))
    target.answers["greet"] = 503
    creating = asyncio.create_task(create(hooked, url))
    await until(lambda: bool(target.calls))

    target.answers.clear()

    assert (await creating).status_code == 200
    assert outcome(await hook_runs(hooked)) == [("greet", "success")]


async def test_deletion_runs_its_hooks_while_the_credentials_are_there(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    scripts = {"second": FAILING}
    await hooked.deploy(with_hooks(delete=["first", "second", "third"], scripts=scripts))
    await create(hooked, url)

    answer = await delete(hooked)

    assert answer.json() == {"success": True}
    assert target.keys == {"first": ["Bearer k1"], "third": ["Bearer k1"]}
    assert outcome(await hook_runs(hooked)) == [
        ("first", "success"),
        ("second", "failed"),
        ("third", "success"),
    ]
    assert (await hooked.client.get("/connections")).json() == {"connections": []}
    assert error_of(await delete(hooked)) == (400, "unknown_connection")


async def test_hook_of_a_deletion_may_call_an_action_of_its_connection(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    script = "async def on_event(nango):\n    await nango.trigger_action('echo', {'text': 'bye'})\n"
    await hooked.deploy(with_hooks(delete=["bye"], scripts={"bye": script}))
    await create(hooked, url)

    await delete(hooked)

    assert outcome(await hook_runs(hooked)) == [("bye", "success")]
    assert [run.status for run in await hooked.runs(kind="action")] == [RunStatus.SUCCESS]


async def test_nothing_begins_for_a_connection_that_is_being_deleted(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    target.held.add("bye")
    await hooked.deploy(with_hooks(delete=["bye"]))
    made = (await create(hooked, url)).json()
    connection = await hooked.stack.container.database.connections.by_key(made["id"])
    deleting = asyncio.create_task(delete(hooked))
    await until(lambda: target.calls == ["bye"])

    headers = {"Connection-Id": "acme", "Provider-Config-Key": "tracker"}
    call = {"action_name": "echo", "input": {"text": "x"}}
    busy = (409, "connection_being_deleted")
    action = await hooked.client.post("/action/trigger", json=call, headers=headers)
    assert error_of(action) == busy
    assert error_of(await create(hooked, url, key="k2")) == busy
    result = await hooked.stack.run_sync(connection)
    assert result.skipped
    second = asyncio.create_task(delete(hooked))
    target.release()

    assert (await deleting).json() == (await second).json() == {"success": True}
    assert target.calls == ["bye"]
    assert await hooked.runs(kind="sync") == []
    assert (await create(hooked, url, key="k2")).status_code == 200


async def test_deletion_ends_what_runs(hooked: Deploys, target: HookTarget, url: str) -> None:
    target.held.add("hold")
    sync = "async def fetch_data(nango):\n    await nango.get(endpoint='/hooks/hold', timeout=60)\n"
    await hooked.deploy(with_hooks(sync=sync, auto_start=True, delete=["bye"]))
    made = (await create(hooked, url)).json()
    await until(lambda: target.calls == ["hold"])

    await delete(hooked)
    target.release()

    (run,) = await hooked.runs(kind="sync")
    assert run.status is RunStatus.CANCELLED
    assert target.calls == ["hold", "bye"]
    connection = hooked.stack.sync_input(
        type("C", (), {"integration": "tracker", "connection_id": "acme", "key": made["id"]})()
    )
    assert await hooked.stack.container.schedules.status(connection) is None


async def test_deletion_ends_actions_also_those_that_wait_for_their_turn(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    target.held.add("act")
    files = with_hooks(delete=["bye"])
    files["tracker/actions/echo.py"] = (
        "async def run_action(nango, input):\n    await nango.get(endpoint='/hooks/act')\n"
    )
    await hooked.deploy(files)
    await create(hooked, url)
    headers = {"Connection-Id": "acme", "Provider-Config-Key": "tracker", "X-Async": "true"}
    for _ in range(3):
        call = {"action_name": "echo", "input": {}}
        answer = await hooked.client.post("/action/trigger", json=call, headers=headers)
        assert answer.status_code == 202, answer.text
    await until(lambda: "act" in target.calls)

    await delete(hooked)
    target.release()

    runs = await hooked.ended(3, kind="action")
    assert {run.status for run in runs} == {RunStatus.CANCELLED}
    assert "bye" in target.calls


async def test_deletion_ends_a_creation_that_is_under_way(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    target.held.add("greet")
    await hooked.deploy(with_hooks(create=["greet", "set-up"], delete=["bye"]))
    creating = asyncio.create_task(create(hooked, url))
    await until(lambda: target.calls == ["greet"])

    deleted = await delete(hooked)
    target.release()

    assert deleted.json() == {"success": True}
    assert error_of(await creating) == (409, "connection_being_deleted")
    assert target.calls == ["greet", "bye"]
    assert outcome(await hook_runs(hooked)) == [("greet", "cancelled"), ("bye", "success")]
    assert (await hooked.client.get("/connections")).json() == {"connections": []}


async def test_of_two_creations_at_once_the_last_credentials_count(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    target.held.add("check")
    await hooked.deploy(with_hooks(validate=["check"], create=["greet"]))
    first = asyncio.create_task(create(hooked, url))
    await until(lambda: target.calls == ["check"])
    second = asyncio.create_task(create(hooked, url, key="k2"))
    store = hooked.stack.container.database.connections

    async def saved() -> str:
        (found,) = await store.list(hooked.stack.environment.id)
        return (await store.credentials(found))["apiKey"]

    async with asyncio.timeout(10):
        while await saved() != "k2":
            await asyncio.sleep(0.02)
    target.release()

    assert (await first).status_code == (await second).status_code == 200
    assert target.keys["check"] == ["Bearer k1", "Bearer k2"]
    assert target.counted["greet"] == 1
    assert (await shown(hooked))["credentials"]["apiKey"] == "k2"


async def test_hooks_stay_with_the_bundle_that_was_active_when_they_began(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    target.held.add("greet")
    await hooked.deploy(with_hooks(create=["greet", "set-up"], auto_start=True))
    creating = asyncio.create_task(create(hooked, url))
    await until(lambda: target.calls == ["greet"])

    await hooked.deploy(with_hooks(create=["other"], auto_start=False))
    target.release()

    assert (await creating).status_code == 200
    assert target.calls == ["greet", "set-up"]
    connection = (
        await hooked.stack.container.database.connections.list(hooked.stack.environment.id)
    )[0]
    status = await hooked.stack.container.schedules.status(hooked.stack.sync_input(connection))
    assert status is not None, "its schedules are those of the later bundle"


async def test_deploy_gives_no_schedule_to_what_may_yet_be_refused(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    target.held.add("check")
    target.answers["check"] = 401
    await hooked.deploy(with_hooks(validate=["check"]))
    creating = asyncio.create_task(create(hooked, url))
    await until(lambda: target.calls == ["check"])

    deployed = await hooked.deploy(with_hooks(validate=["check"], auto_start=True))
    target.release()

    assert error_of(await creating) == (400, "connection_validation_failed")
    assert deployed["schedules"]["created"] == 0 if "schedules" in deployed else True
    assert await hooked.runs(kind="sync") == []


async def test_older_folder_of_hooks_is_found(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    files = project()
    files["nango.yaml"] = files["nango.yaml"].replace(
        "    actions:\n", "    post-connection-scripts: [greet]\n    actions:\n"
    )
    older = "async def on_event(nango):\n    await nango.get(endpoint='/hooks/older')\n"
    files["tracker/post-connection-scripts/greet.py"] = older
    await hooked.deploy(files)

    assert (await create(hooked, url)).status_code == 200

    assert target.calls == ["older"]


async def test_hooks_have_no_records(hooked: Deploys, target: HookTarget, url: str) -> None:
    script = "async def on_event(nango):\n    await nango.batch_save([], 'Issue')\n"
    files = with_hooks(create=["greet"], scripts={"greet": script})
    answer = await hooked.client.post("/deployments", json={"files": files})
    if answer.status_code == 200:
        await create(hooked, url)
        (run,) = await hook_runs(hooked)
        assert run.status is RunStatus.FAILED
        assert "batch_save" in (run.error or {})["message"]
    else:
        assert "batch_save" in answer.text


async def test_failed_sync_shows_until_it_succeeds(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    target.answers["sync"] = 400
    sync = "async def fetch_data(nango):\n    await nango.get(endpoint='/hooks/sync')\n"
    await hooked.deploy(with_hooks(sync=sync, auto_start=True))
    await create(hooked, url)
    (failed,) = await hooked.ended(1, kind="sync")

    assert (await shown(hooked))["errors"] == [{"type": "sync", "log_id": failed.id}]

    target.answers.clear()
    body = {"syncs": ["issues"], "connection_id": "acme", **QUERY}
    assert (await hooked.client.post("/sync/trigger", json=body)).status_code == 200
    await hooked.ended(2, kind="sync")
    assert (await shown(hooked))["errors"] == []


async def test_creation_that_has_to_begin_anew_leaves_out_hooks_that_ended(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    target.held.add("set-up")
    await hooked.deploy(with_hooks(create=["greet", "set-up"]))
    creating = asyncio.create_task(create(hooked, url))
    await until(lambda: target.calls == ["greet", "set-up"])
    container = hooked.stack.container
    workflow_id = f"connection-create/{hooked.stack.environment.name}/tracker/acme"
    await container.temporal.get_workflow_handle(workflow_id).terminate("for the test")
    assert (await creating).status_code == 500
    await hooked.ended(2, kind="on-event")

    target.release()
    assert await start_awaited(container.database, container.temporal) >= 1
    await container.temporal.get_workflow_handle(workflow_id).result()

    assert target.counted == {"greet": 1, "set-up": 2}
    assert (await create(hooked, url, key="k2")).status_code == 200
    assert target.counted == {"greet": 1, "set-up": 2}


async def test_setup_that_an_api_left_is_done_by_the_next_one(
    hooked: Deploys, target: HookTarget, url: str
) -> None:
    from api.app import create_app

    await hooked.deploy(with_hooks(validate=["check"], create=["greet"]))
    await hooked.stack.container.database.connections.save(
        hooked.stack.environment.id,
        "tracker",
        "acme",
        {"type": "API_KEY", "apiKey": "k1"},
        connection_config={"baseUrl": url},
        awaits_setup=True,
    )

    app = create_app(hooked.stack.container)
    async with app.router.lifespan_context(app):
        await until(lambda: target.calls == ["check", "greet"])
