"""Names in camelCase."""

from __future__ import annotations

import pytest

from perdure.nango.naming import python_name


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("batchSave", "batch_save"),
        ("batchSend", "batch_save"),
        ("deleteRecordsFromPreviousExecutions", "delete_records_from_previous_executions"),
        ("getRecordsById", "get_records_by_ids"),
        ("getWebhookURL", "get_webhook_url"),
        ("zodValidateInput", "validate_input"),
        ("lastSyncDate", "last_sync_date"),
        ("log", "log"),
        ("get_metadata", "get_metadata"),
    ],
)
def test_camel_case_becomes_snake_case(name: str, python: str) -> None:
    assert python_name(name) == python
