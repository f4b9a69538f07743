"""What a batch of records must be, and what it becomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import InvalidInputError
from perdure.records.prepare import MAX_ID_BYTES, check_ids, prepare_batch, prepare_deletion


def indexes(error: InvalidInputError) -> list[Any]:
    return [problem.path[0] for problem in error.errors]


def test_records_keep_the_order_they_were_given_in() -> None:
    batch = prepare_batch([{"id": "b"}, {"id": "c"}, {"id": "a"}])

    assert batch.ids == ("b", "c", "a")
    assert len(batch) == 3


def test_the_stored_form_starts_with_the_id_and_keeps_the_order_of_the_rest() -> None:
    batch = prepare_batch([{"z": 1, "id": "x", "a": 2}])

    assert batch.payloads == (b'{"id":"x","z":1,"a":2}',)


def test_a_numeric_id_is_stored_as_a_string() -> None:
    batch = prepare_batch([{"id": 42, "n": 1}])

    assert batch.ids == ("42",)
    assert batch.payloads == (b'{"id":"42","n":1}',)


def test_a_number_and_its_text_are_the_same_record() -> None:
    number, text = prepare_batch([{"id": 7}]), prepare_batch([{"id": "7"}])

    assert number == text


def test_metadata_of_an_earlier_read_is_dropped() -> None:
    batch = prepare_batch([{"id": "x", "_nango_metadata": {"cursor": "abc"}, "n": 1}])

    assert batch.payloads == (b'{"id":"x","n":1}',)
    assert batch.hashes == prepare_batch([{"id": "x", "n": 1}]).hashes


def test_the_records_that_were_handed_over_are_not_changed() -> None:
    record = {"n": 1, "id": 5, "_nango_metadata": {}}

    prepare_batch([record])

    assert record == {"n": 1, "id": 5, "_nango_metadata": {}}


def test_of_duplicates_the_first_is_kept_and_the_rest_is_named() -> None:
    batch = prepare_batch(
        [{"id": "a", "n": 1}, {"id": "b"}, {"id": "a", "n": 2}, {"id": "a", "n": 3}]
    )

    assert batch.ids == ("a", "b")
    assert json.loads(batch.payloads[0]) == {"id": "a", "n": 1}
    assert batch.duplicates == ("a", "a")


@pytest.mark.parametrize("bad", [None, "", 0, False, True, 1.5, [], {}, "\0"])
def test_a_value_that_is_no_id_is_a_missing_id(bad: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        prepare_batch([{"id": bad}])

    assert caught.value.code == "missing_id"


def test_every_record_without_an_id_is_named() -> None:
    with pytest.raises(InvalidInputError) as caught:
        prepare_batch([{"id": "a"}, {"n": 1}, {"id": "b"}, {"id": 0}, "no object", None])

    assert caught.value.code == "missing_id"
    assert indexes(caught.value) == [1, 3, 4, 5]
    assert "index 1, 3, 4, 5 " in caught.value.message


def test_a_message_about_many_records_stays_short() -> None:
    with pytest.raises(InvalidInputError) as caught:
        prepare_batch([{} for _ in range(1000)])

    assert len(caught.value.errors) == 1000
    assert "and 990 more" in caught.value.message
    assert len(caught.value.message) < 250


@pytest.mark.parametrize(
    "long",
    ["x" * (MAX_ID_BYTES + 1), "é" * MAX_ID_BYTES, 1 << 20_000],
    ids=["text", "letters of two bytes", "number"],
)
def test_an_id_that_is_too_long_is_refused(long: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        prepare_batch([{"id": "a"}, {"id": long}])

    assert caught.value.code == "invalid_id"
    assert indexes(caught.value) == [1]
    assert str(MAX_ID_BYTES) in caught.value.message


def test_the_longest_id_is_taken() -> None:
    assert prepare_batch([{"id": "x" * MAX_ID_BYTES}]).ids == ("x" * MAX_ID_BYTES,)


def test_an_id_with_an_unpaired_surrogate_is_refused() -> None:
    with pytest.raises(InvalidInputError) as caught:
        prepare_batch([{"id": "\ud800"}])

    assert caught.value.code == "invalid_id"


def test_nul_characters_leave_an_id() -> None:
    batch = prepare_batch([{"id": "a\0b"}])

    assert batch.ids == ("ab",)
    assert batch.payloads == (b'{"id":"ab"}',)


def test_every_record_that_json_cannot_say_is_named() -> None:
    with pytest.raises(InvalidInputError) as caught:
        prepare_batch([{"id": "a", "x": object()}, {"id": "b"}, {"id": "c", "x": {1}}])

    assert caught.value.code == "invalid_record"
    assert indexes(caught.value) == [0, 2]


def test_an_empty_batch_is_a_batch() -> None:
    assert prepare_batch([]).ids == ()


def test_a_deletion_needs_nothing_but_ids() -> None:
    deletion = prepare_deletion([{"id": 3, "x": object()}, {"id": "a"}, {"id": "a"}])

    batch = deletion.batch
    assert batch.ids == ("3", "a")
    assert batch.payloads == (b'{"id":"3"}', b'{"id":"a"}')
    assert batch.duplicates == ("a",)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, None),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.123456+02:00", datetime(2026, 1, 31, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        (datetime(2026, 1, 31, 12), datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_a_deletion_may_say_when_it_happened(given: object, meant: datetime | None) -> None:
    deletion = prepare_deletion([{"id": "a", "deletedAt": given}, {"id": "b"}])

    assert deletion.deleted_at == (meant, None)


@pytest.mark.parametrize("given", ["yesterday", "", 1700000000, True, {}, "0001-01-01T00:00+23:00"])
def test_a_deletion_at_no_moment_is_refused(given: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        prepare_deletion([{"id": "a"}, {"id": "b", "deletedAt": given}])

    assert caught.value.code == "invalid_deleted_at"
    assert [problem.path for problem in caught.value.errors] == [(1, "deletedAt")]


def test_ids_are_checked_without_encoding_anything() -> None:
    check_ids([{"id": "a", "x": object()}])

    with pytest.raises(InvalidInputError) as caught:
        check_ids([{"id": "a"}, {"id": None}])
    assert caught.value.code == "missing_id"


def test_a_deletion_without_an_id_is_refused() -> None:
    with pytest.raises(InvalidInputError) as caught:
        prepare_deletion([{"id": "a"}, {}])

    assert indexes(caught.value) == [1]


ids = st.text(min_size=1, max_size=8).filter(lambda text: text.strip("\0")) | st.integers(1)
values = st.none() | st.booleans() | st.integers() | st.text(max_size=10)


@given(
    st.lists(st.dictionaries(st.text(max_size=5), values, max_size=5).map(dict), max_size=8),
    st.data(),
)
def test_each_payload_is_the_record_with_its_id_as_a_string(
    bodies: list[dict[str, Any]], data: st.DataObject
) -> None:
    records = [{**body, "id": data.draw(ids)} for body in bodies]

    batch = prepare_batch(records)

    expected: dict[str, Any] = {}
    for record in records:
        name = str(record["id"]).replace("\0", "")
        expected.setdefault(name, {**record, "id": name})
    decoded = {name: json.loads(text) for name, text in zip(batch.ids, batch.payloads, strict=True)}
    assert decoded == expected
    assert list(batch.ids) == list(expected)
    assert all(text.startswith(b'{"id":') for text in batch.payloads)
    assert len(batch.duplicates) == len(records) - len(expected)
