"""What fits by the quick check fits the model, and nothing else does."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from perdure.scripts.fitting import fitting


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="allow", protected_namespaces=(), validate_by_alias=True, validate_by_name=True
    )


class Leaf(_Model):
    name: str
    size: int | float
    note: str | None
    kind: Literal["a", "b"] | None = None


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


SCALARS = st.sampled_from(["", "a", "x", 1, 1.5, 0, True, False, None])
NAMES = st.sampled_from(
    ["id", "class", "class_", "name", "size", "note", "kind", "leaf", "leaves", "children", "tags"]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)
LEAVES = st.fixed_dictionaries(
    {"name": st.just("n") | SCALARS, "size": st.just(1) | SCALARS, "note": SCALARS},
    optional={"kind": SCALARS, "more": VALUES},
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
CHECK = fitting(list[Tree])


def accepts(check: Any, data: bytes) -> bool:
    try:
        check(data)
    except ValidationError:
        return False
    return True


@given(st.lists(TREES | VALUES, max_size=3))
def test_the_quick_check_and_the_models_agree(values: list[Any]) -> None:
    data = json.dumps(values).encode()

    expected = accepts(lambda text: FULL.validate_json(text, strict=True), data)

    assert accepts(CHECK, data) is expected


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
    assert accepts(CHECK, json.dumps([value]).encode()) is fits
