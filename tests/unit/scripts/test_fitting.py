"""What fits by the quick check fits the model, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from perdure.records.canonical import to_json
from perdure.scripts.fitting import fitting

NAN, INFINITY = float("nan"), float("inf")


class Colour(str, Enum):  # noqa: UP042 - as people write it
    RED = "a"


class Text(str):
    pass


class Whole(int):
    pass


def moment() -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC)


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="allow", protected_namespaces=(), validate_by_alias=True, validate_by_name=True
    )


class Leaf(_Model):
    name: str
    size: int | float
    note: str | None
    kind: Literal["a", "b", 1, True] | None = None
    at: datetime | None = None
    ats: list[datetime] | datetime | str = ""
    numbers: list[int | float] | float | dict[str, float] = 0.0


class Tagged(_Model):
    __pydantic_extra__: dict[str, str] = Field(init=False)

    id: str


class Tree(_Model):
    id: str
    class_: bool = Field(alias="class")
    leaf: Leaf
    leaves: list[Leaf] = []
    children: list[Tree] | None = None
    tags: Tagged | dict[str, int] | None = None
    anything: Any = None


SCALARS = st.sampled_from(
    ["", "a", "x", 1, 1.5, 0, True, False, None, NAN, "2026-01-31T12:00:00Z", "1700000000"]
)
NAMES = st.sampled_from(
    [*Tree.model_fields, *Leaf.model_fields, "class"],
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)
LEAVES = st.fixed_dictionaries(
    {"name": st.just("n") | SCALARS, "size": st.just(1) | SCALARS, "note": SCALARS},
    optional={
        "kind": SCALARS,
        "more": VALUES,
        "at": SCALARS,
        "ats": SCALARS | VALUES,
        "numbers": SCALARS | st.lists(SCALARS, max_size=2),
    },
)
TREES = st.deferred(
    lambda: st.fixed_dictionaries(
        {"id": st.just("1") | SCALARS, "leaf": LEAVES | VALUES},
        optional={
            "class": st.just(True) | SCALARS,
            "class_": st.just(True) | SCALARS,
            "leaves": st.lists(LEAVES | VALUES, max_size=3),
            "children": st.lists(TREES, max_size=2) | SCALARS,
            "tags": st.dictionaries(NAMES, SCALARS, max_size=3),
            "anything": VALUES,
            "more": VALUES,
        },
    )
)

FULL = TypeAdapter(list[Tree])
FITS = fitting(list[Tree])


def fits_the_model(value: Any) -> bool:
    try:
        FULL.validate_json(to_json(value), strict=True)
    except (TypeError, ValidationError):
        return False
    return True


@given(st.lists(TREES | VALUES, max_size=3))
def test_the_quick_check_and_the_models_agree(values: list[Any]) -> None:
    assert FITS(values) is fits_the_model(values)


def test_objects_are_held_against_a_model_as_the_json_they_are_written_as() -> None:
    made: list[Any] = [moment(), NAN, INFINITY, (1, 2), Colour.RED, Text("x"), Whole(3), 2**70]

    moments = ("2024-01-01", " 2024-01-01", "2024-01-01 ", "2024-02-30T00:00:00Z", "2024-01-01T00")

    for value in (*made, *map(str, made), *moments, "12", "1700000000000", "1e10", {1: 2}):
        for field in ("name", "size", "note", "kind", "more", "at", "ats", "numbers"):
            leaf = {"name": "n", "size": 1, "note": None, field: value}
            tree = {"id": "1", "class": True, "leaf": leaf}
            assert FITS([tree]) is fits_the_model([tree]), (field, value)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"id": "1", "class": True, "leaf": {"name": "n", "size": 1, "note": None}}, True),
        ({"id": "1", "class_": True, "leaf": {"name": "n", "size": 1.5, "note": "x"}}, True),
        ({"id": 1, "class": True, "leaf": {"name": "n", "size": 1, "note": None}}, False),
        ({"id": "1", "class": True, "leaf": {"name": "n", "size": "1", "note": None}}, False),
        ({"id": "1", "leaf": {"name": "n", "size": 1, "note": None}}, False),
    ],
)
def test_fields_by_either_name_and_strict_types(value: dict[str, Any], fits: bool) -> None:
    assert FITS([value]) is fits


def test_a_string_with_an_unpaired_surrogate_is_a_string() -> None:
    assert fitting(Leaf)({"name": "\ud800", "size": 1, "note": None, "more": "\ud800"})
    assert not fitting(Leaf)({"name": 1, "size": 1, "note": None, "more": "\ud800"})
