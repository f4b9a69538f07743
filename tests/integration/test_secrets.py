"""No credential stands in clear in a history, a log or the database."""

from __future__ import annotations

import base64
import json
import logging
import uuid
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from werkzeug import Response

from perdure.temporal.failures import describe_failure
from tests.support.project import project
from tests.support.secret_texts import SECRETS
from tests.support.source import Source
from tests.support.stack import Stack

LEAKY = """
async def fetch_data(nango):
    connection = await nango.get_connection()
    token = connection["credentials"]["apiKey"]
    await nango.log("the token is", token)
    await nango.get(endpoint="/issues", headers={"X-Copy": token}, params={"copy": token})
    await nango.batch_save([{"id": "1", "title": "plain"}], "Issue")
    await nango.run(use, token)
    raise RuntimeError(f"refused: {token}")


def use(token):
    return f"used {token}"
"""

ALL_ROWS = """
SELECT table_name FROM information_schema.tables
 WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
"""


async def everything_stored(database_url: str) -> str:
    """Return every row of every table as text; bytes appear as hexadecimal digits."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = [row["table_name"] for row in await connection.fetch(ALL_ROWS)]
        rows = []
        for table in tables:
            rows += await connection.fetch(f'SELECT t::text AS row FROM "{table}" t')
        return "\n".join(row["row"] for row in rows)
    finally:
        await connection.close()


async def test_credentials_stand_nowhere_in_clear(
    stack: Stack,
    source: Source,
    postgres: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # the source's own, it shows URLs
    secret = f"sk-test-{uuid.uuid4().hex}"
    await stack.deploy(project(LEAKY))
    connection = await stack.connect(source.url, api_key=secret)

    handle = await stack.start_sync(connection)
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    raw = (await handle.fetch_history()).to_json()
    assert source.authorization == {f"Bearer {secret}"}, "the secret was really used"
    assert secret not in raw
    assert secret.encode().hex() not in raw
    assert "refused: ***" in raw
    assert secret not in json.dumps([list(r.args or ()) for r in caplog.records], default=str)
    assert secret not in caplog.text
    output = capfd.readouterr()
    assert secret not in output.out + output.err
    stored = await everything_stored(postgres)
    assert "the token is ***" in stored
    assert secret not in stored
    assert secret.encode().hex() not in stored


async def test_base64_payloads_of_the_history_hide_the_secret_too(
    stack: Stack, source: Source
) -> None:
    secret = f"sk-test-{uuid.uuid4().hex}"
    await stack.deploy(project(LEAKY))
    handle = await stack.start_sync(await stack.connect(source.url, api_key=secret))
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    history = await handle.fetch_history()

    for event in history.events:
        assert secret.encode() not in event.SerializeToString()


SPELLINGS = """
import base64
from urllib.parse import quote
from perdure import ActionError


async def fetch_data(nango):
    connection = await nango.get_connection()
    token = connection["credentials"]["apiKey"]
    await nango.log(connection, repr(token))
    await nango.get(endpoint=f"/issues?copy={quote(token)}")
    await nango.get(endpoint="/issues", headers={"Authorization": "Basic " + encoded(token)})
    try:
        await nango.run(refuse, token)
    except Exception as error:
        await nango.log(str(error))
    raise ActionError({"token": token, "encoded": encoded(token)})


def encoded(token):
    return base64.b64encode(token.encode()).decode()


def refuse(token):
    raise RuntimeError("bad " + token)
"""

ECHOING = """
async def fetch_data(nango):
    answer = await nango.get(endpoint="/echo")
    await nango.batch_save([{"id": "1", "title": answer.data["your_key"]}], "Issue")
    await nango.log(answer.data)
"""


async def assert_nowhere_in_history(handle: WorkflowHandle[Any, Any], *spellings: str) -> None:
    for event in (await handle.fetch_history()).events:
        raw = event.SerializeToString()
        for spelling in spellings:
            assert spelling.encode() not in raw, (spelling, event)


async def test_secrets_are_hidden_in_every_spelling(stack: Stack, source: Source) -> None:
    secret = f'sk "quoted"\\n+/ü={uuid.uuid4().hex}'
    await stack.deploy(project(SPELLINGS))
    handle = await stack.start_sync(await stack.connect(source.url, api_key=secret))
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()

    end = secret[-32:]
    encoded = base64.b64encode(secret.encode()).decode()
    await assert_nowhere_in_history(handle, end, encoded, quote(secret))
    assert describe_failure(caught.value)["payload"] == {"token": "***", "encoded": "***"}
    lines = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert all(end not in line.message for line in lines)
    assert "bad ***" in lines[-1].message


async def test_answer_that_repeats_the_credential_is_encrypted(
    stack: Stack, source: Source
) -> None:
    secret = SECRETS.shown(f"sk-test-{uuid.uuid4().hex}", "records.payload")
    await stack.deploy(project(ECHOING))
    source.server.expect_request("/echo").respond_with_json({"your_key": secret})
    connection = await stack.connect(source.url, api_key=secret)

    handle = await stack.start_sync(connection)
    await handle.result()

    await assert_nowhere_in_history(handle, secret)
    (line,) = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert secret not in line.message


ASKING = """
async def fetch_data(nango):
    token = await nango.get_token()
    integration = await nango.get_integration(include=["credentials"])
    variables = {v["name"]: v["value"] for v in await nango.get_environment_variables()}
    secrets = [token["apiKey"], integration["credentials"]["client_secret"], variables["KEY"]]
    await nango.log("found", secrets, "it is true")
    await nango.set_metadata({"copy": secrets})
    await nango.update_metadata({"other": secrets[2]})
    await nango.get(endpoint="/issues", headers={"X-Copy": secrets[1]}, params={"k": secrets[2]})
    await nango.batch_save([{"id": "1", "title": secrets[2]}], "Issue")
    raise RuntimeError(f"refused: {secrets}")
"""


async def test_token_integration_credentials_and_variables_are_hidden_too(
    stack: Stack, source: Source, postgres: str
) -> None:
    database = stack.container.database
    token, client, variable = (f"{kind}-{uuid.uuid4().hex}" for kind in ("key", "client", "var"))
    await stack.deploy(project(ASKING))
    connection = await stack.connect(source.url, api_key=token)
    await database.integrations.update(
        stack.environment.id, "tracker", credentials={"client_secret": client}
    )
    await database.variables.set(stack.environment.id, "KEY", variable)
    await database.variables.set(stack.environment.id, "FLAG", "true")

    handle = await stack.start_sync(connection)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()

    await assert_nowhere_in_history(handle, token, client, variable)
    assert "refused: ['***', '***', '***']" in describe_failure(caught.value)["message"]
    (line,) = await database.runs.logs(handle.result_run_id or "")
    assert line.message == 'found ["***","***","***"] it is true'
    # What the script itself saved as metadata and records was for others to read.
    await database.connections.delete(stack.environment.id, "tracker", "acme")
    stored = await everything_stored(postgres)
    for secret in (token, client, variable):
        assert secret not in stored
        assert secret.encode().hex() not in stored


CARRYING = """
CODE = "".join(["lite", "ral", "-4711"])  # the script itself stands in the history


async def fetch_data(nango):
    key = (await nango.get_token())["apiKey"]
    url = "{url}/echo"
    await nango.try_acquire_lock(key="import " + key, ttl_ms=1000)
    await nango.release_lock(key="import " + key)
    await nango.uncontrolled_fetch(url=url, method="POST", body=key)
    await nango.uncontrolled_fetch(url=url + "?plain=1&signature=" + CODE)
    await nango.uncontrolled_fetch(url=url, headers={"X-Api-Key": CODE})
    try:
        await nango.uncontrolled_fetch(url="http://user:" + CODE + "@example.com/")
    except nango.ActionError as error:
        await nango.log(error.payload)
"""


async def test_lock_keys_and_requests_without_credentials_hide_what_they_carry(
    stack: Stack, source: Source
) -> None:
    secret = f"sk-test-{uuid.uuid4().hex}"
    source.server.expect_request("/echo").respond_with_handler(
        lambda request: Response(request.get_data() + request.query_string)
    )
    await stack.deploy(project(CARRYING.replace("{url}", source.url)))

    handle = await stack.start_sync(await stack.connect(source.url, api_key=secret))
    await handle.result()

    await assert_nowhere_in_history(handle, secret, "literal-4711")
    (line,) = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert "url_not_allowed" in line.message
    assert "4711" not in line.message
