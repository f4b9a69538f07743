"""What searches all that the tests left behind does find what it is for."""

from __future__ import annotations

import base64
import logging
import uuid
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest
import structlog
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec

from perdure.db.blobs import BlobStore
from tests.support.log_tape import LogTape
from tests.support.project import project
from tests.support.secret_search import SecretSearch, assert_none
from tests.support.secret_texts import SECRETS, SecretTexts
from tests.support.source import Source
from tests.support.stack import Stack

SECRET = 'planted "text"\\n+/ü=4711'
SPELLED = {
    "plain": SECRET.encode(),
    "url": f"https://example.com/?a={quote(SECRET, safe='')}".encode(),
    "basic": b"Basic " + base64.b64encode(f"user:{SECRET}".encode()),
    "bearer": base64.urlsafe_b64encode(f"x{SECRET}y".encode()),
    "hex": SECRET.encode().hex().encode(),
    "repr": repr([SECRET]).encode(),
}


@pytest.mark.parametrize("content", SPELLED.values(), ids=SPELLED)
def test_every_spelling_is_found(content: bytes) -> None:
    secrets = SecretTexts(marks=())
    secrets.learn(SECRET)

    (found,) = {f.text for f in SecretSearch(secrets).in_bytes(b"-" + content + b"-", "here")}

    assert found == SECRET


def test_whatever_begins_with_a_mark_is_found() -> None:
    search = SecretSearch(SecretTexts())

    assert search.in_bytes(b'{"key": "key-of-somebody"}', "here")
    assert search.in_bytes(base64.b64encode(b"me:key-of-somebody"), "here")
    assert not search.in_bytes(b'{"key": "***"}', "here")


def test_what_was_shown_on_purpose_passes_there_and_nowhere_else() -> None:
    secrets = SecretTexts()
    secrets.shown("key-of-somebody", "records.payload")
    search = SecretSearch(secrets)

    assert not search.in_bytes(b"key-of-somebody", "perdure: public.records.payload")
    assert search.in_bytes(b"key-of-somebody", "perdure: public.run_logs.message")
    assert search.in_bytes(b"key-of-another", "perdure: public.records.payload")


async def test_any_column_of_the_database_is_searched(postgres: str) -> None:
    secrets = SecretTexts(marks=())
    texts = [secrets.learn(f"planted-{uuid.uuid4().hex}") for _ in range(3)]
    key = secrets.learn(str(uuid.uuid4()))
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute("CREATE TABLE planted (t text, j jsonb, b bytea, u uuid)")
        await connection.execute(
            "INSERT INTO planted VALUES ($1, jsonb_build_object('in', ARRAY[$2::text]), $3, $4)",
            texts[0],
            texts[1],
            texts[2].encode(),
            key,
        )
        found = await SecretSearch(secrets).in_database(postgres)
    finally:
        await connection.execute("DROP TABLE planted")
        await connection.close()

    places = {one.place.rpartition(".")[2]: one.text for one in found}
    assert places == {"t": texts[0], "j": texts[1], "b": texts[2], "u": key}
    with pytest.raises(AssertionError, match=r"public\.planted\.t: 'planted-"):
        assert_none(found)


async def test_compressed_payloads_are_searched(stack: Stack, postgres: str) -> None:
    secrets = SecretTexts(marks=())
    text = secrets.learn(f"planted-{uuid.uuid4().hex}")
    pool, key = stack.container.database.pool, uuid.uuid4().hex
    numbers = b" ".join(b"%d" % number for number in range(5_000))
    await BlobStore(pool, compress=True).put_many({key: numbers + text.encode() + numbers})
    try:
        stored = await pool.fetchval("SELECT data FROM payload_blobs WHERE key = $1", key)
        assert text.encode() not in stored
        found = await SecretSearch(secrets).in_database(postgres)
    finally:
        await pool.execute("DELETE FROM payload_blobs WHERE key = $1", key)

    assert {(one.place.rpartition(": ")[2], one.text) for one in found} == {
        ("public.payload_blobs.data", text)
    }


async def test_histories_are_searched(stack: Stack, source: Source, temporal: str) -> None:
    """The product does not know this text to be a secret, so it shows the message."""
    secrets = SecretTexts(marks=())
    text = secrets.learn(f"planted-{uuid.uuid4().hex}")
    code = f'async def fetch_data(nango):\n    raise ValueError("{text}")\n'
    await stack.deploy(project(code))
    handle = await stack.start_sync(await stack.connect(source.url))
    with pytest.raises(Exception, match="failed"):
        await handle.result()

    found = await SecretSearch(secrets).in_temporal(temporal)

    assert found
    assert all(f"workflow {handle.id}, run " in one.place for one in found)


async def test_schedules_are_searched(stack: Stack, temporal: str) -> None:
    secrets = SecretTexts(marks=())
    text = secrets.learn(f"planted-{uuid.uuid4().hex}")
    action = ScheduleActionStartWorkflow("nothing", text, id="nothing", task_queue="nowhere")
    handle = await stack.container.temporal.create_schedule(
        f"planted/{stack.environment.name}", Schedule(action=action, spec=ScheduleSpec())
    )
    try:
        (found,) = await SecretSearch(secrets).in_temporal(temporal)
    finally:
        await handle.delete()

    assert found.place == f"default: schedule {handle.id}"


def test_what_is_logged_is_searched(tmp_path: Path) -> None:
    secrets = SecretTexts(marks=())
    ours, theirs, printed = (secrets.learn(f"planted-{name}-4711") for name in "abc")
    handlers, config = logging.getLogger().handlers, structlog.get_config()
    tape = LogTape(tmp_path / "tape")
    tape.start()
    try:
        structlog.get_logger("perdure.x").info("page_saved", url=f"https://example.com/{ours}")
        logging.getLogger("temporalio.activity").warning("slow", extra={"step": theirs})
        tape.write("test_a Captured stdout call", f"one\n{printed}")
    finally:
        tape.stop()
        logging.getLogger().handlers = handlers
        structlog.configure(**config)

    found = SecretSearch(secrets).in_lines(tape.path)

    assert {one.place.partition(", ")[2]: one.text for one in found} == {
        "logger perdure.x": ours,
        "logger temporalio.activity": theirs,
        "test_a Captured stdout call": printed,
    }


async def test_credentials_are_known_once_the_product_has_them(
    stack: Stack, source: Source
) -> None:
    key, variable = f"own-{uuid.uuid4().hex}", f"own-{uuid.uuid4().hex}"
    await stack.connect(source.url, api_key=key)
    await stack.container.database.variables.set(stack.environment.id, "KEY", variable)

    assert {key, variable, stack.secret_key} <= set(SECRETS)
