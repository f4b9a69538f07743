"""A record is the same, byte by byte, whether a loop hands it over or `.save()` takes it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from activities.page_mapping import PageFunctions, PageMapping
from activities.records import BatchVerb
from perdure.ids import BundleHash
from perdure.proxy.pagination import Page
from perdure.records.prepare import PreparedBatch
from perdure.scripts.bundle import Bundle
from perdure.scripts.mapping import plain_records
from perdure.scripts.secrets import KnownSecrets
from workflows.nango.records import _in_pydantics_form


class Colour(StrEnum):
    RED = "red"


class Issue(BaseModel):
    id: str
    at: datetime


def looped(records: list[Any]) -> PreparedBatch:
    return _in_pydantics_form(plain_records(records), 0, (), None)


def saved(records: list[Any]) -> PreparedBatch:
    mapping = PageMapping(
        bundle=Bundle(BundleHash("0" * 64), {}),
        path="issues.py",
        functions=PageFunctions(map_item=lambda place: records[place]),
        verb=BatchVerb.SAVE,
        model="Issue",
        enforce=False,
        validator=None,
        secrets=KnownSecrets(),
    )
    page = Page(list(range(len(records))), None, 200, {}, deliver=True)
    (batch,) = mapping.apply(page, 1).batches
    assert isinstance(batch, PreparedBatch)
    return batch


@pytest.mark.parametrize(
    "value",
    [
        datetime(2026, 1, 31, 12, tzinfo=UTC),
        datetime(2026, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC),
        datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
        datetime(2026, 7, 31, 12, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 1, 31, 12, tzinfo=ZoneInfo("Europe/London")),
        datetime(2026, 1, 31, 12),
        date(2026, 1, 31),
        time(12, 30, 0, 1),
        UUID(int=7),
        Colour.RED,
        {"list": [datetime(2026, 1, 31, tzinfo=UTC), (1, 2)]},
        {2: "é", datetime(2026, 1, 31, tzinfo=UTC): 1},
        {Colour.RED: "é", "small": 1e-7},
        2**80,
    ],
)
def test_a_value_has_the_same_form_in_both_ways(value: Any) -> None:
    records = [
        {"id": "1", "at": value, "text": "é", "number": 1e22, "nothing": float("nan")},
        {"at": value, "large": 2**70, "id": 2},
        {"id": "3", "text": "plain"},
    ]
    assert saved(records) == looped(records)


def test_a_moment_in_utc_ends_with_z() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for records in ([{"id": "1", "at": at}], [Issue(id="1", at=at)]):
        assert saved(records).payloads == (b'{"id":"1","at":"2026-01-31T12:00:00Z"}',)


@given(
    st.datetimes(
        # Before, offsets had seconds, which ISO 8601 has no form for.
        min_value=datetime(1980, 1, 1),
        timezones=st.one_of(st.none(), st.timezones()),
    )
)
def test_moments_have_the_same_form_in_both_ways(at: datetime) -> None:
    records = [{"id": "1", "at": at}]
    assert saved(records) == looped(records)
