"""Names of the helper in Python, for those who know it in camelCase."""

from __future__ import annotations

import re

__all__ = ["python_name"]

_WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_OTHERS = {
    "activityLogId": "run_id",
    "batchSend": "batch_save",
    "getRecordsById": "get_records_by_ids",
    "zodValidateInput": "validate_input",
}


def python_name(name: str) -> str:
    """Return how something is called in Python that is called `name` in camelCase."""
    return _OTHERS.get(name) or _WORD_BEGINS.sub("_", name).lower()
