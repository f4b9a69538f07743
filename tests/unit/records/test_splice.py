"""Records as they leave the API."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from perdure.records.cursor import cursor_bytes, encode_cursor
from perdure.records.prepare import prepare_batch
from perdure.records.splice import last_action, metadata, records_body, splice

SEEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = SEEN + timedelta(seconds=1)
PAYLOAD = b'{"id":"x","n":1.50}'
NEW = metadata(SEEN, SEEN, None, None)
CURSOR, CURSOR_OF_12 = cursor_bytes((7, 12))


def record(payload: bytes = PAYLOAD, described: bytes = NEW) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(splice(payload, described, CURSOR))
    return found


def described(*moments: datetime | None) -> dict[str, Any]:
    first_seen_at, last_modified_at, deleted_at, pruned_at = moments
    assert first_seen_at is not None
    assert last_modified_at is not None
    told = metadata(first_seen_at, last_modified_at, deleted_at, pruned_at)
    found: dict[str, Any] = record(described=told)["_nango_metadata"]
    return found


any_text = st.text(st.characters(exclude_categories=()), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=10,
)
records = st.dictionaries(any_text, json_values, max_size=5)


@given(records)
def test_a_spliced_record_is_the_payload_with_its_metadata(body: dict[str, Any]) -> None:
    body.pop("_nango_metadata", None)
    batch = prepare_batch([{**body, "id": 12}])

    spliced = record(batch.payloads[0])

    told = spliced.pop("_nango_metadata")
    assert spliced == {**body, "id": "12"}
    assert told["cursor"] == encode_cursor(7)


def test_the_payload_leaves_as_the_bytes_it_came_as() -> None:
    assert splice(PAYLOAD, NEW, CURSOR).startswith(b'{"id":"x","n":1.50,"_nango_metadata":{')


def test_metadata_has_every_field() -> None:
    assert record()["_nango_metadata"] == {
        "first_seen_at": "2026-01-02T03:04:05.678901+00:00",
        "last_modified_at": "2026-01-02T03:04:05.678901+00:00",
        "last_action": "ADDED",
        "deleted_at": None,
        "pruned_at": None,
        "cursor": encode_cursor(7),
    }


def test_times_have_microseconds_even_when_they_are_zero() -> None:
    whole = described(SEEN.replace(microsecond=0), SEEN, None, None)

    assert whole["first_seen_at"] == "2026-01-02T03:04:05.000000+00:00"


def test_times_are_told_in_utc() -> None:
    east = described(SEEN.astimezone(timezone(timedelta(hours=2))), SEEN, None, None)

    assert east["first_seen_at"] == "2026-01-02T03:04:05.678901+00:00"


def test_a_record_that_never_changed_was_added() -> None:
    assert last_action(SEEN, SEEN, None) == "ADDED"


def test_a_record_that_changed_was_updated() -> None:
    assert last_action(SEEN, LATER, None) == "UPDATED"


def test_a_record_that_is_gone_was_deleted() -> None:
    told = described(SEEN, LATER, LATER, None)

    assert told["last_action"] == last_action(SEEN, LATER, LATER) == "DELETED"
    assert told["deleted_at"] == "2026-01-02T03:04:06.678901+00:00"


def test_a_record_tells_when_its_payload_was_given_up() -> None:
    assert described(SEEN, SEEN, None, LATER)["pruned_at"] == "2026-01-02T03:04:06.678901+00:00"


def test_a_body_is_the_answer_to_a_request_for_records() -> None:
    one = bytes(records_body([PAYLOAD], [NEW], [CURSOR], "abc"))
    two = bytes(records_body([PAYLOAD, b'{"id":"y"}'], [NEW, NEW], [CURSOR, CURSOR_OF_12], None))

    assert json.loads(one) == {"next_cursor": "abc", "records": [record()]}
    assert json.loads(two)["records"] == [
        record(),
        json.loads(splice(b'{"id":"y"}', NEW, CURSOR_OF_12)),
    ]
    assert records_body([], [], [], None) == b'{"next_cursor":null,"records":[]}'


@given(
    st.lists(st.dictionaries(any_text, json_values, max_size=3), max_size=5), st.none() | st.text()
)
def test_a_page_holds_each_record_as_the_bytes_it_is_alone(
    bodies: list[dict[str, Any]], next_cursor: str | None
) -> None:
    for number, body in enumerate(bodies):
        body.pop("_nango_metadata", None)
        body["id"] = str(number)
    payloads = prepare_batch(bodies).payloads
    told = [metadata(SEEN, LATER if n % 2 else SEEN, None, None) for n in range(len(bodies))]
    cursors = cursor_bytes([10**n for n in range(len(bodies))])

    page = bytes(records_body(payloads, told, cursors, next_cursor))

    assert json.loads(page)["next_cursor"] == next_cursor
    alone = b",".join(map(splice, payloads, told, cursors))
    assert page.endswith(b',"records":[' + alone + b"]}")
