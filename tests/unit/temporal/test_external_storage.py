"""Large payloads outside of histories: what a process takes for stored, and what histories name."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    StorageDriverActivityInfo,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)

from perdure.crypto.keyring import KeyRing, new_key
from perdure.temporal.converter import data_converter
from perdure.temporal.external_storage import (
    CLAIM_KEY,
    THRESHOLD_BYTES,
    PayloadsGoneError,
    PostgresStorageDriver,
    claimed_keys,
)
from perdure.temporal.payloads import SyncInput, SyncResult
from tests.support.blobs import Blobs

STORING = StorageDriverStoreContext()
LARGE = Payload(metadata={"encoding": b"json/plain"}, data=b'"' + b"x" * 50_000 + b'"')


class Clock:
    """A clock that goes on when it is told to."""

    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_payload_that_was_removed_meanwhile_is_stored_again() -> None:
    blobs, clock = Blobs(), Clock()
    driver = PostgresStorageDriver(blobs, clock)
    (claim,) = await driver.store(STORING, [LARGE])
    blobs.clear()

    clock.seconds += 60
    await driver.store(STORING, [LARGE])
    assert not blobs, "what was stored a minute ago is there"

    clock.seconds += 3_600
    await driver.store(STORING, [LARGE])
    assert set(blobs) == {claim.claim_data[CLAIM_KEY]}


async def test_what_was_read_long_ago_is_asked_for_again() -> None:
    blobs, clock = Blobs(), Clock()
    driver = PostgresStorageDriver(blobs, clock)
    claims = await driver.store(STORING, [LARGE])
    reading = StorageDriverRetrieveContext()
    assert await driver.retrieve(reading, claims) == [LARGE]

    blobs.clear()
    assert await driver.retrieve(reading, claims) == [LARGE]
    clock.seconds += 3_600
    with pytest.raises(PayloadsGoneError):
        await driver.retrieve(reading, claims)


async def test_the_cache_holds_what_was_used_last() -> None:
    blobs = Blobs()
    driver = PostgresStorageDriver(blobs, Clock())
    payloads = [Payload(data=bytes([number]) * 9_000_000) for number in range(10)]
    claims: list[StorageDriverClaim] = []
    for payload in [*payloads, payloads[0]]:
        claims += await driver.store(STORING, [payload])
    blobs.clear()

    reading = StorageDriverRetrieveContext()
    assert await driver.retrieve(reading, claims[-3:]) == [*payloads[-2:], payloads[0]]
    with pytest.raises(PayloadsGoneError):
        await driver.retrieve(reading, claims[1:2])


def for_workflow(id_: str, type_: str | None) -> StorageDriverStoreContext:
    target = StorageDriverWorkflowInfo(namespace="default", id=id_, type=type_)
    return StorageDriverStoreContext(target=target)


SYNC = for_workflow("sync/dev/github/acme/issues/base", "sync")
ACTION = for_workflow("action/dev/1", "action")


@pytest.mark.parametrize(
    ("context", "is_lasting"),
    [
        (SYNC, False),
        (for_workflow("each/0198/1/4", "each"), False),
        (for_workflow("each/0198/1/1-500", "each-batch"), False),
        (ACTION, True),
        (for_workflow("dry-run/dev/1", "sync"), True),
        (for_workflow("webhook/dev/1", "webhook"), True),
        # What an item returns to its run, and signals.
        (for_workflow("sync/dev/github/acme/issues/base", None), True),
        (for_workflow("each/0198/1/1-500", None), True),
        (StorageDriverStoreContext(StorageDriverActivityInfo(namespace="default")), True),
        (StorageDriverStoreContext(), True),
    ],
)
async def test_only_what_syncs_and_items_work_on_is_not_lasting(
    context: StorageDriverStoreContext, is_lasting: bool
) -> None:
    blobs = Blobs()

    await PostgresStorageDriver(blobs, Clock()).store(context, [LARGE])

    assert blobs.lasting == (set(blobs) if is_lasting else set())


async def test_what_an_action_stores_is_lasting_though_a_sync_has_stored_it() -> None:
    blobs = Blobs()
    driver = PostgresStorageDriver(blobs, Clock())
    claims = await driver.store(SYNC, [LARGE])
    assert await driver.retrieve(StorageDriverRetrieveContext(), claims) == [LARGE]
    assert not blobs.lasting

    await driver.store(ACTION, [LARGE])
    assert blobs.lasting == set(blobs)

    blobs.clear()
    for context in (SYNC, ACTION):
        await driver.store(context, [LARGE])
    assert not blobs, "it is known to be there, and to be lasting"


PAGE = Payload(metadata={"encoding": b"json/plain"}, data=b'"' + b"x" * 500_000 + b'"')


@pytest.mark.parametrize(
    ("context", "payload", "is_read_once"),
    [(SYNC, PAGE, True), (SYNC, LARGE, False), (ACTION, PAGE, False)],
    ids=["a page of a sync", "a script", "what others read from histories"],
)
async def test_a_page_is_not_held_once_it_was_read(
    context: StorageDriverStoreContext, payload: Payload, is_read_once: bool
) -> None:
    blobs = Blobs()
    driver = PostgresStorageDriver(blobs, Clock())
    claims = await driver.store(context, [payload])
    reading = StorageDriverRetrieveContext()
    stored = dict(blobs)
    blobs.clear()
    assert await driver.retrieve(reading, claims) == [payload], "the first is served from memory"

    blobs.update(stored)
    blobs.asked = 0
    for _ in range(2):
        assert await driver.retrieve(reading, claims) == [payload]
    assert blobs.asked == (2 if is_read_once else 0)


async def test_a_script_that_another_process_has_stored_is_read_once() -> None:
    blobs = Blobs()
    claims = await PostgresStorageDriver(blobs, Clock()).store(ACTION, [LARGE])
    driver = PostgresStorageDriver(blobs, Clock())

    for _ in range(3):
        assert await driver.retrieve(StorageDriverRetrieveContext(), claims) == [LARGE]

    assert blobs.asked == 1


@pytest.mark.parametrize("encrypt", ["secrets", "all"])
async def test_names_of_payloads_are_found_in_what_temporal_is_given(
    encrypt: Literal["secrets", "all"],
) -> None:
    blobs = Blobs()
    driver = PostgresStorageDriver(blobs, Clock())
    converter = data_converter(KeyRing.parse(new_key()), driver, encrypt=encrypt)
    values: list[Any] = ["small", "a" * 50_000, {"rows": ["b" * 50_000]}]

    encoded = await converter.encode(values)

    named = set[str]().union(*(claimed_keys(one.SerializeToString()) for one in encoded))
    assert len(blobs) == 2
    assert named == set(blobs)


async def test_what_a_schedule_hands_on_stays_in_the_history() -> None:
    """It would be named by the schedule alone, for however long that pauses."""
    blobs = Blobs()
    converter = data_converter(
        KeyRing.parse(new_key()), PostgresStorageDriver(blobs, Clock()), encrypt="all"
    )
    longest = "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 255
    given = SyncInput(
        environment=longest,
        environment_id=1,
        integration=longest,
        connection_id=longest,
        connection_key=1,
        sync=longest,
        variant=longest,
    )
    counts = {"added": 10**9, "updated": 10**9, "deleted": 10**9, "unchanged": 10**9}
    result = SyncResult.model_validate({"counts": {f"Model{n:03}": counts for n in range(100)}})

    encoded = await converter.encode([given, result])

    assert not blobs
    assert max(one.ByteSize() for one in encoded) < THRESHOLD_BYTES
