"""Records as they leave the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from perdure.records.cursor import encode_cursor
from perdure.records.prepare import prepare_batch
from perdure.records.splice import StoredRecord, last_action, records_body, splice

SEEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = SEEN + timedelta(seconds=1)
RECORD = StoredRecord(
    id="x",
    payload=b'{"id":"x","n":1.50}',
    first_seen_at=SEEN,
    last_modified_at=SEEN,
    deleted_at=None,
    pruned_at=None,
    change_seq=7,
)

any_text = st.text(st.characters(exclude_categories=()), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(any_text, json_values, max_size=5))
def test_a_spliced_record_is_the_payload_with_its_metadata(body: dict[str, Any]) -> None:
    body.pop("_nango_metadata", None)
    batch = prepare_batch([{**body, "id": 12}])

    spliced = json.loads(splice(RECORD._replace(payload=batch.payloads[0], id="12")))

    metadata = spliced.pop("_nango_metadata")
    assert spliced == {**body, "id": "12"}
    assert metadata["cursor"] == encode_cursor(7)


def test_the_payload_leaves_as_the_bytes_it_came_as() -> None:
    assert splice(RECORD).startswith(b'{"id":"x","n":1.50,"_nango_metadata":{')


def test_metadata_has_every_field() -> None:
    assert json.loads(splice(RECORD))["_nango_metadata"] == {
        "first_seen_at": "2026-01-02T03:04:05.678901+00:00",
        "last_modified_at": "2026-01-02T03:04:05.678901+00:00",
        "last_action": "ADDED",
        "deleted_at": None,
        "pruned_at": None,
        "cursor": encode_cursor(7),
    }


def test_times_have_microseconds_even_when_they_are_zero() -> None:
    whole = RECORD._replace(first_seen_at=SEEN.replace(microsecond=0))

    first_seen_at = json.loads(splice(whole))["_nango_metadata"]["first_seen_at"]

    assert first_seen_at == "2026-01-02T03:04:05.000000+00:00"


def test_times_are_told_in_utc() -> None:
    east = RECORD._replace(first_seen_at=SEEN.astimezone(timezone(timedelta(hours=2))))

    first_seen_at = json.loads(splice(east))["_nango_metadata"]["first_seen_at"]

    assert first_seen_at == "2026-01-02T03:04:05.678901+00:00"


def test_a_record_that_never_changed_was_added() -> None:
    assert last_action(RECORD) == "ADDED"


def test_a_record_that_changed_was_updated() -> None:
    assert last_action(RECORD._replace(last_modified_at=LATER)) == "UPDATED"


def test_a_deleted_record_keeps_its_payload() -> None:
    deleted = RECORD._replace(last_modified_at=LATER, deleted_at=LATER)

    spliced = json.loads(splice(deleted))

    assert last_action(deleted) == "DELETED"
    assert spliced["n"] == 1.5
    assert spliced["_nango_metadata"]["deleted_at"] == "2026-01-02T03:04:06.678901+00:00"


def test_a_pruned_record_is_its_id_and_metadata() -> None:
    spliced = json.loads(splice(RECORD._replace(pruned_at=LATER)))

    assert set(spliced) == {"id", "_nango_metadata"}
    assert spliced["_nango_metadata"]["pruned_at"] == "2026-01-02T03:04:06.678901+00:00"


def test_a_body_is_the_answer_to_a_request_for_records() -> None:
    assert json.loads(records_body([splice(RECORD)], "abc")) == {
        "next_cursor": "abc",
        "records": [json.loads(splice(RECORD))],
    }
    assert records_body([], None) == b'{"next_cursor":null,"records":[]}'
