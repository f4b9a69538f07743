"""Bulk data travels as it was encoded, in the form in which everything else is."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json
from temporalio.api.common.v1 import Payload as PayloadProto

from activities.records import BatchInput, prepared_lines
from perdure.records.prepare import prepare_batch
from perdure.temporal.bulk import as_plain_json, decoded, encoded, encoded_by_orjson
from perdure.temporal.codec import SECRET_MARK
from perdure.temporal.converter import data_converter
from tests.support.run_context import CONTEXT

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        {"id": "1", "nested": [{"a": None, "b": [1.5, True]}], "text": "line\nbreak \u2028 é"},
        {"at": datetime(2026, 1, 31, 12, tzinfo=UTC), "day": datetime(2026, 1, 1).date()},
        {"price": Decimal("1.10"), "id": UUID(int=7), "colour": Colour.RED, 5: "number"},
        {"large": 2**80, "tuple": (1, 2)},
    ],
    ids=["json", "dates", "types", "numbers"],
)
def test_a_value_has_the_form_that_pydantic_gives_it(value: object) -> None:
    data = encoded([value])

    assert from_json(data) == from_json(to_json([value]))
    assert b"\n" not in data
    assert decoded(data) == from_json(to_json([value]))


def payload_of(batch: BatchInput) -> PayloadProto:
    return data_converter(None, None).payload_converter.to_payload(batch)


def test_a_batch_comes_back_as_it_was_given() -> None:
    batch = BatchInput(
        context=CONTEXT, model="Issue", bulk=(encoded([{"id": 1}]), encoded([{"id": 2}]))
    )

    back = data_converter(None, None).payload_converter.from_payload(payload_of(batch), BatchInput)

    assert back == batch
    assert list(back.statements()) == [[{"id": 1}, {"id": 2}]]


def test_a_batch_of_an_earlier_time_is_read() -> None:
    batch = BatchInput(context=CONTEXT, model="Issue", records=[{"id": 1}])
    payload = payload_of(batch)

    assert payload.metadata["encoding"] == b"json/plain"
    back = data_converter(None, None).payload_converter.from_payload(payload, BatchInput)
    assert list(back.statements()) == [[{"id": 1}]]


def test_a_statement_takes_what_was_saved_at_once_as_a_whole() -> None:
    parts = [encoded([{"id": n}] * size) for n, size in enumerate((600, 400, 1, 1_000))]

    batch = BatchInput(context=CONTEXT, model="Issue", bulk=tuple(parts))

    assert [len(records) for records in batch.statements()] == [1_000, 1, 1_000]


def test_prepared_records_come_back_as_they_were_prepared() -> None:
    first = prepare_batch([{"id": 1, "a": "x"}, {"id": 1, "a": "y"}, {"id": "2", "b": [1.0]}])
    second = prepare_batch([{"id": str(n)} for n in range(3, 1_002)])
    lines = (*prepared_lines(first), *prepared_lines(second))
    batch = BatchInput(context=CONTEXT, model="Issue", prepared=True, bulk=lines)

    back = data_converter(None, None).payload_converter.from_payload(payload_of(batch), BatchInput)

    together = back.prepared_records()
    assert together.ids == (*first.ids, *second.ids)
    assert together.payloads == (*first.payloads, *second.payloads)
    assert together.hashes == (*first.hashes, *second.hashes)
    assert together.duplicates == ("1",)


def test_what_holds_a_secret_is_marked() -> None:
    batch = BatchInput(context=CONTEXT, model="Issue", bulk=(b"[]",))

    assert SECRET_MARK not in payload_of(batch).metadata
    assert SECRET_MARK in payload_of(batch.model_copy(update={"sealed": True})).metadata


def test_people_are_shown_a_list() -> None:
    batch = BatchInput(context=CONTEXT, model="Issue", bulk=(b'[{"id":"1"}]', b"[]"))

    shown = as_plain_json(payload_of(batch))

    assert shown.metadata["encoding"] == b"json/plain"
    head, *parts = from_json(shown.data)
    assert (head["model"], parts) == ("Issue", [[{"id": "1"}], []])


@given(JSON)
def test_orjson_reads_back_what_it_wrote_as_everybody_else_does(value: Any) -> None:
    data = encoded_by_orjson(value)

    if data is None:
        with pytest.raises(TypeError):
            orjson.dumps(value)
    else:
        assert repr(decoded(data, by_orjson=True)) == repr(decoded(data))


def test_what_orjson_would_lose_digits_of_it_does_not_write() -> None:
    assert encoded_by_orjson({"large": 2**80}) is None
    assert decoded(encoded({"large": 2**80})) == {"large": 2**80}
