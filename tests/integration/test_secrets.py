"""No credential stands in clear in a history, a log or the database."""

from __future__ import annotations

import json
import logging
import uuid

import asyncpg
import pytest
from temporalio.client import WorkflowFailureError

from tests.support.project import project
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
