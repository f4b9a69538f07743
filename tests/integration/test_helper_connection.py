"""What scripts learn and change of their connection, integration and environment."""

from __future__ import annotations

import asyncio

import pytest
from werkzeug import Request, Response

from tests.support.actions import call
from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack


async def test_metadata_is_replaced_or_merged(stack: Stack, source: Source) -> None:
    seen = await call(
        stack,
        source,
        """
        await nango.set_metadata({"a": {"x": 1}, "b": 2})
        seen = [await nango.get_metadata()]
        await nango.update_metadata({"a": {"y": 1}, "c": None})
        seen.append(await nango.get_metadata())
        await nango.set_metadata({})
        seen.append(await nango.get_metadata())
        return seen
        """,
        metadata={"old": True},
    )

    assert seen == [{"a": {"x": 1}, "b": 2}, {"a": {"y": 1}, "b": 2, "c": None}, {}]


async def test_metadata_that_others_change_is_seen_at_once(stack: Stack, source: Source) -> None:
    loop = asyncio.get_running_loop()
    store = stack.container.database.connections

    def change(_: Request) -> Response:
        new = store.set_metadata(stack.environment.id, "tracker", ["acme"], {"n": 2})
        asyncio.run_coroutine_threadsafe(new, loop).result(10)
        return Response("{}", content_type="application/json")

    source.server.expect_request("/change").respond_with_handler(change)

    seen = await call(
        stack,
        source,
        """
        before = await nango.get_metadata()
        await nango.get("/change")
        return [before, await nango.get_metadata(), (await nango.get_connection())["metadata"]]
        """,
        metadata={"n": 1},
    )

    assert seen == [{"n": 1}, {"n": 2}, {"n": 2}]


@pytest.mark.parametrize("metadata", ["[1]", "'text'", "None", "{'f': object()}"])
async def test_metadata_that_is_no_json_object_is_refused(
    stack: Stack, source: Source, metadata: str
) -> None:
    seen = await call(
        stack,
        source,
        f"""
        try:
            await nango.set_metadata({metadata})
        except Exception as error:
            return [type(error).__name__, error.code, await nango.get_metadata()]
        """,
        metadata={"old": True},
    )

    assert seen == ["HelperError", "invalid_metadata", {"old": True}]


async def test_token_of_an_api_key_is_the_credentials(stack: Stack, source: Source) -> None:
    body = """
        token = await nango.get_token()
        connection = await nango.get_connection(force_refresh=True, refresh_token=True)
        return token == connection["credentials"], token["type"], len(token["apiKey"])
        """

    assert await call(stack, source, body, api_key="sk-12345") == [True, "API_KEY", 8]


async def test_integration_tells_what_is_asked_for(stack: Stack, source: Source) -> None:
    connection = await stack.connect(source.url)
    await stack.container.database.integrations.update(
        stack.environment.id, connection.integration, credentials={"client_id": "c1"}
    )

    plain, full = await call(
        stack,
        source,
        """
        both = await nango.get_integration(include=["credentials", "webhook"])
        assert both["webhook_url"] == await nango.get_webhook_url()
        return await nango.get_integration(), both
        """,
    )

    assert (plain["unique_key"], plain["provider"]) == ("tracker", "generic-api-key")
    assert set(full) - set(plain) == {"webhook_url", "credentials"}
    assert full["credentials"] == {"client_id": "c1"}
    assert full["webhook_url"] is None, "the server does not know its own address"


async def test_integration_includes_nothing_unknown(stack: Stack, source: Source) -> None:
    body = """
        try:
            await nango.get_integration(include=["secrets"])
        except Exception as error:
            return error.code
        """

    assert await call(stack, source, body) == "invalid_options"


async def test_environment_variables_come_by_name(stack: Stack, source: Source) -> None:
    variables = stack.container.database.variables
    body = "return await nango.get_environment_variables()"
    assert await call(stack, source, body) == []
    await variables.set(stack.environment.id, "REGION", "eu")
    await variables.set(stack.environment.id, "API_SECRET", "ü-secret")

    assert await call(stack, source, body) == [
        {"name": "API_SECRET", "value": "ü-secret"},
        {"name": "REGION", "value": "eu"},
    ]


LEVELS = """
    for level in ("debug", "info", "warn", "error"):
        await nango.log(level, level=level)
    nango.set_logger(level="error")
    await nango.log("hidden", level="warn")
    await nango.log("shown", level="error")
    nango.set_logger(level="off")
    await nango.log("hidden", level="error")
    nango.set_logger(level="verbose")
    await nango.log("everything", level="silly")
    """


@pytest.mark.parametrize(
    ("variable", "kept"),
    [
        (None, ["info", "warn", "error"]),
        ("debug", ["debug", "info", "warn", "error"]),
        (" Warn ", ["warn", "error"]),
        ("off", []),
        ("loud", ["info", "warn", "error"]),
    ],
)
async def test_log_keeps_what_the_environment_and_the_script_ask_for(
    stack: Stack, source: Source, variable: str | None, kept: list[str]
) -> None:
    database = stack.container.database
    if variable is not None:
        await database.variables.set(stack.environment.id, "NANGO_LOGGER_LEVEL", variable)
    script = f"async def fetch_data(nango):\n{LEVELS}"
    await stack.deploy(project(script))

    handle = await stack.start_sync(await stack.connect(source.url))
    await handle.result()

    lines = [line.message for line in await database.runs.logs(handle.result_run_id or "")]
    assert lines == [*kept, "shown", "everything"]


async def test_unknown_log_level_is_named(stack: Stack, source: Source) -> None:
    body = """
        try:
            nango.set_logger(level="loud")
        except Exception as error:
            return error.code, str(error)
        """

    code, message = await call(stack, source, body)

    assert code == "invalid_options"
    assert "'loud'" in message
