"""What becomes of a page that is read past the script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import BaseModel

from activities.page_mapping import PageFunctions, PageMapping
from activities.records import BatchVerb
from perdure.errors import InvalidInputError
from perdure.ids import BundleHash
from perdure.proxy.pagination import Page
from perdure.records.prepare import PreparedBatch
from perdure.scripts.bundle import Bundle
from perdure.scripts.secrets import KnownSecrets
from perdure.scripts.validation import ModelValidator
from perdure.temporal.converter import ScriptError


class Issue(BaseModel):
    id: str
    title: str = ""


@pytest.fixture
def validator() -> Iterator[ModelValidator]:
    with ThreadPoolExecutor(1) as executor:
        yield ModelValidator({"Issue": Issue}, executor)


def mapping(
    functions: PageFunctions | None = None,
    *,
    verb: BatchVerb = BatchVerb.SAVE,
    enforce: bool = False,
    validator: ModelValidator | None = None,
) -> PageMapping:
    return PageMapping(
        bundle=Bundle(BundleHash("0" * 64), {}),
        path="issues.py",
        functions=functions or PageFunctions(),
        verb=verb,
        model="Issue",
        enforce=enforce,
        validator=validator,
        secrets=KnownSecrets(),
    )


def page_of(items: Sequence[Any]) -> Page:
    return Page(list(items), None, 200, {}, deliver=True)


def issues(count: int, **others: dict[str, Any]) -> list[dict[str, Any]]:
    """Return that many issues; `at_7={...}` stands in the place of the one at index 7."""
    made: list[dict[str, Any]] = [{"id": str(index), "title": "t"} for index in range(count)]
    for place, issue in others.items():
        made[int(place.removeprefix("at_"))] = issue
    return made


def refusal_of(mapping: PageMapping, items: Sequence[Any]) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as refused:
        mapping.apply(page_of(items), 3)
    return refused.value


def test_of_an_id_that_comes_again_after_a_thousand_records_the_first_is_kept() -> None:
    items = issues(1_500, at_1400={"id": "3", "title": "later"})
    first, second = mapping().apply(page_of(items), 1).batches
    assert isinstance(first, PreparedBatch)
    assert isinstance(second, PreparedBatch)
    assert first.payloads[3] == b'{"id":"3","title":"t"}'
    assert (first.duplicates, second.duplicates) == ((), ("3",))
    assert len(second) == 499


def test_what_is_told_of_a_page_cannot_change_its_records() -> None:
    def on_page(page: Mapping[str, Any]) -> None:
        for item in page["response"].data:
            del item["title"]

    page = page_of([{"id": "1", "title": "t"}])
    (batch,) = mapping(PageFunctions(on_page=on_page)).apply(page, 1).batches
    assert isinstance(batch, PreparedBatch)
    assert batch.payloads == (b'{"id":"1","title":"t"}',)


def test_a_long_page_becomes_batches_of_a_thousand_in_its_order() -> None:
    batches = mapping().apply(page_of(issues(2_500)), 1).batches

    assert [len(batch) for batch in batches if isinstance(batch, PreparedBatch)] == [
        1_000,
        1_000,
        500,
    ]
    ids = [id_ for batch in batches if isinstance(batch, PreparedBatch) for id_ in batch.ids]
    assert ids == [str(index) for index in range(2_500)]


@pytest.mark.parametrize("index", [0, 999, 1_000, 1_001, 2_499])
def test_a_record_without_an_id_is_named_by_its_place_on_the_page(index: int) -> None:
    items = issues(2_500, **{f"at_{index}": {"title": "t"}})

    refusal = refusal_of(mapping(), items)

    assert refusal.code == "missing_id"
    assert refusal.message.startswith(f"page 3: Record at index {index} without a usable id")
    assert [error.path for error in refusal.errors] == [(index, "id")]


def test_an_id_that_came_before_shifts_no_place() -> None:
    # Both in the first thousand and on its border, so that fewer are saved than were counted.
    items = issues(2_000, at_5={"id": "1"}, at_999={"id": "1"}, at_1700={"title": "t"})

    assert refusal_of(mapping(), items).errors[0].path == (1_700, "id")


def test_a_value_that_json_has_no_form_for_is_named_by_its_place() -> None:
    def with_sets(item: Any) -> Any:
        return {**item, "title": set()} if item["id"] in {"1200", "1201"} else item

    refusal = refusal_of(mapping(PageFunctions(map_item=with_sets)), issues(1_500))

    assert refusal.code == "invalid_record"
    assert refusal.message.startswith("page 3: Records at index 1200, 1201 cannot be written")
    assert [error.path for error in refusal.errors] == [(1_200,), (1_201,)]


def test_places_are_those_of_records_where_an_element_becomes_several() -> None:
    def twice(item: Any) -> Any:
        if item["id"] == "0":
            return None
        return [item, {**item, "id": None if item["id"] == "800" else f"{item['id']}-b"}]

    refusal = refusal_of(mapping(PageFunctions(map_item=twice)), issues(1_000))

    assert refusal.errors[0].path == (2 * 799 + 1, "id")


def test_what_map_returned_that_is_no_record_is_named_by_its_place() -> None:
    functions = PageFunctions(map_item=lambda item: [item, 7] if item["id"] == "1300" else item)

    assert "records[1301] is a int" in refusal_of(mapping(functions), issues(1_500)).message


def test_a_function_that_fails_is_told_with_the_element_it_had() -> None:
    def fails(item: Any) -> Any:
        return {"id": item["id"] if item["id"] != "1300" else 1 / 0}

    with pytest.raises(ScriptError, match=r"page 3, element 1300\b"):
        mapping(PageFunctions(map_item=fails)).apply(page_of(issues(1_500)), 3)


def test_records_that_do_not_fit_their_model_are_named_by_their_places(
    validator: ModelValidator,
) -> None:
    items = issues(
        2_500,
        at_3={"id": "2"},
        at_1500={"id": "1500", "title": 7},
        at_2400={"id": "2400", "title": None},
    )

    with pytest.raises(InvalidInputError) as refused:
        mapping(enforce=True, validator=validator).apply(page_of(items), 3)
    mapped = mapping(validator=validator).apply(page_of(items), 3)

    assert refused.value.code == "invalid_sync_record"
    ((level, warning),) = mapped.warnings
    assert level == "warn"
    for said in (refused.value.message, warning):
        assert "Issue records[1500] (id '1500'): title" in said
        assert "Issue records[2400] (id '2400'): title" in said
        assert len(said.splitlines()) == 2
    assert sum(len(batch) for batch in mapped.batches if isinstance(batch, PreparedBatch)) == 2_499


def test_deletions_of_a_long_page_are_named_by_their_places() -> None:
    gone = mapping(verb=BatchVerb.DELETE)
    items = issues(1_500, at_1200={"id": "1200", "deletedAt": "yesterday"})

    assert refusal_of(gone, items).errors[0].path == (1_200, "deletedAt")
    assert refusal_of(gone, issues(1_500, at_1300={})).errors[0].path == (1_300, "id")
    assert len(gone.apply(page_of(issues(1_500)), 3).batches) == 2
