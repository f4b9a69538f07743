"""What a worker gives to itself stays the value that it is, and anybody else can read it."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from activities.records import BatchInput
from perdure.crypto.keyring import KeyRing, new_key
from perdure.temporal.bulk import BulkConverter, serialized, serialized_size
from perdure.temporal.converter import data_converter, worker_converter
from perdure.temporal.external_storage import (
    THRESHOLD_BYTES,
    PayloadsGoneError,
    PostgresStorageDriver,
    claimed_keys,
)
from perdure.temporal.stand_ins import StandInDriver, StandIns, is_stand_in
from tests.support.blobs import Blobs
from tests.support.run_context import CONTEXT

KEY = new_key()
READING = StorageDriverRetrieveContext()


def batch(size: int = 50_000, *, sealed: bool = False) -> BatchInput:
    lines = (b'["' + b"x" * (size // 2) + b'"]', b'["' + b"y" * (size // 2) + b'"]')
    return BatchInput(context=CONTEXT, model="Issue", bulk=lines, sealed=sealed)


def converters(
    blobs: Blobs, encrypt: Literal["secrets", "all"] = "secrets"
) -> tuple[DataConverter, DataConverter]:
    """Return that of a worker, and that of another process."""
    ring = KeyRing.parse(KEY)
    return (
        worker_converter(ring, PostgresStorageDriver(blobs), encrypt=encrypt),
        data_converter(ring, PostgresStorageDriver(blobs), encrypt=encrypt),
    )


async def stored_by(
    driver: StandInDriver, stand_ins: StandIns, values: Sequence[BatchInput]
) -> list[StorageDriverClaim]:
    payloads = [stand_ins.give(value) for value in values]
    return await driver.store(StorageDriverStoreContext(), payloads)


async def read(converter: DataConverter, stored: Sequence[Payload]) -> BatchInput:
    (value,) = await converter.decode(stored, [BatchInput])
    assert isinstance(value, BatchInput)
    return value


async def test_a_worker_is_given_its_own_value_back_and_others_an_equal_one() -> None:
    worker, other = converters(Blobs())
    value = batch()

    stored = await worker.encode([value])

    assert await read(other, stored) == value
    assert await read(worker, stored) is value


async def test_a_value_is_given_back_once() -> None:
    """Whoever had it may have taken it apart."""
    worker, _ = converters(Blobs())
    value = batch()
    stored = await worker.encode([value])
    assert await read(worker, stored) is value

    again = await read(worker, stored)

    assert again == value
    assert again is not value


@pytest.mark.parametrize("encrypt", ["secrets", "all"])
async def test_a_history_has_the_same_of_a_stand_in_as_of_the_value(
    encrypt: Literal["secrets", "all"],
) -> None:
    worker, other = converters(Blobs(), encrypt)
    value = batch()

    (by_worker,) = await worker.encode([value])
    (by_other,) = await other.encode([value])

    if encrypt == "secrets":
        assert by_worker == by_other
    assert len(claimed_keys(by_worker.SerializeToString())) == 1
    size = by_worker.external_payloads[0].size_bytes
    assert size == pytest.approx(by_other.external_payloads[0].size_bytes, rel=0.01)
    assert size > 50_000


async def test_several_values_are_stored_at_once() -> None:
    worker, other = converters(Blobs())
    values = [batch(20_000), "text", batch(40_000), "z" * 20_000]

    stored = await worker.encode(values)

    hints = [BatchInput, str, BatchInput, str]
    assert await other.decode(stored, hints) == values
    assert await worker.decode(stored, hints) == values
    sizes = [sum(one.size_bytes for one in payload.external_payloads) for payload in stored]
    assert sizes[1] == 0
    assert sizes[0] < sizes[2]


async def test_a_value_with_a_secret_is_stored_encrypted_as_it_always_was() -> None:
    blobs = Blobs()
    worker, other = converters(blobs)
    value = batch(sealed=True)

    stored = await worker.encode([value])

    (data,) = blobs.values()
    assert b"xxx" not in data
    assert await read(other, stored) == value
    assert await read(worker, stored) is not value


async def test_where_all_is_encrypted_so_is_what_stand_ins_stand_for() -> None:
    blobs = Blobs()
    worker, other = converters(blobs, "all")
    value = batch()

    stored = await worker.encode([value])

    (data,) = blobs.values()
    assert b"xxx" not in data
    assert await read(other, stored) == value
    assert await read(worker, stored) is value


async def test_a_small_value_stays_in_the_history() -> None:
    blobs = Blobs()
    worker, other = converters(blobs)

    stored = await worker.encode([batch(1_000)])

    assert not blobs
    assert await read(other, stored) == batch(1_000)


async def test_where_there_is_no_room_the_latest_value_is_read_from_postgres() -> None:
    """The others are asked for before it."""
    stand_ins = StandIns()
    driver = StandInDriver(PostgresStorageDriver(Blobs()), stand_ins, kept_bytes=100_000)
    values = [batch(40_000), batch(40_002), batch(40_004)]
    claims = await stored_by(driver, stand_ins, values)

    payloads = await driver.retrieve(READING, claims)

    assert [stand_ins.take(payload) for payload in payloads[:2]] == values[:2]
    assert BulkConverter().from_payload(payloads[2], BatchInput) == values[2]

    again = await stored_by(driver, stand_ins, values[2:])
    assert is_stand_in((await driver.retrieve(READING, again))[0]), "there is room by now"


async def test_what_nobody_asks_for_makes_room_after_a_while() -> None:
    now, blobs, stand_ins = 1_000.0, Blobs(), StandIns()
    driver = StandInDriver(
        PostgresStorageDriver(blobs), stand_ins, kept_bytes=100_000, now=lambda: now
    )
    old, new = batch(90_000), batch(90_002)
    claims = await stored_by(driver, stand_ins, [old])
    now += 61

    claims += await stored_by(driver, stand_ins, [new])

    payloads = await driver.retrieve(READING, claims)
    assert [is_stand_in(payload) for payload in payloads] == [False, True]
    blobs.clear()
    with pytest.raises(PayloadsGoneError):
        await driver.retrieve(READING, claims[1:])


async def test_a_stand_in_of_another_process_is_none_of_this_one() -> None:
    value = batch()
    here, there = StandIns(), StandIns()
    here.hand_back(value)

    with pytest.raises(RuntimeError, match="value is gone"):
        here.take(there.hand_back(value))


async def test_what_nobody_holds_on_to_cannot_be_stored() -> None:
    stand_ins = StandIns()
    payload = stand_ins.give(batch())
    gc.collect()

    with pytest.raises(RuntimeError, match="value is gone"):
        stand_ins.given(payload)


def test_what_is_never_taken_is_let_go_of_after_a_while() -> None:
    now = 1_000.0
    stand_ins = StandIns(lambda: now)
    left, taken = stand_ins.hand_back(batch()), stand_ins.hand_back(batch())
    assert stand_ins.take(taken) == batch()
    now += 601

    stand_ins.hand_back(batch())

    with pytest.raises(RuntimeError, match="value is gone"):
        stand_ins.take(left)


@given(st.lists(st.binary(max_size=3 * THRESHOLD_BYTES), min_size=1, max_size=3))
def test_a_value_is_serialized_as_its_payload_would_be(parts: list[bytes]) -> None:
    value = BatchInput(context=CONTEXT, model="Issue", bulk=tuple(parts))
    payload = BulkConverter().to_payload(value)
    assert payload is not None

    assert serialized(value) == payload.SerializeToString(deterministic=True)
    assert serialized_size(value) == payload.ByteSize()
