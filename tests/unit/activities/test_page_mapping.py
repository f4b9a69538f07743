from collections.abc import Mapping
from typing import Any

from activities.page_mapping import PageFunctions, PageMapping
from activities.records import BatchVerb
from perdure.ids import BundleHash
from perdure.proxy.pagination import Page
from perdure.records.prepare import PreparedBatch
from perdure.scripts.bundle import Bundle
from perdure.scripts.secrets import KnownSecrets


def test_what_is_told_of_a_page_cannot_change_its_records() -> None:
    def on_page(page: Mapping[str, Any]) -> None:
        for item in page["response"].data:
            del item["title"]

    mapping = PageMapping(
        bundle=Bundle(BundleHash("0" * 64), {}),
        path="issues.py",
        functions=PageFunctions(on_page=on_page),
        verb=BatchVerb.SAVE,
        model="Issue",
        enforce=False,
        validator=None,
        secrets=KnownSecrets(),
    )
    page = Page([{"id": "1", "title": "t"}], None, 200, {}, deliver=True)
    (batch,) = mapping.apply(page, 1).batches
    assert isinstance(batch, PreparedBatch)
    assert batch.payloads == (b'{"id":"1","title":"t"}',)
