"""How processes take and give back memory."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys

import pytest

ON_GLIBC = platform.libc_ver()[0] == "glibc"

# A page of records, taken and given back: how often does the system have to make memory ready?
PAGES = """
import resource
from perdure.app.memory import keep_what_is_freed
{first}
def page():
    records = [bytes(1400) for _ in range(3000)]
    return len(records)
page()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    page()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(first: str) -> int:
    program = PAGES.format(first=first)
    plain = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    told = subprocess.run(
        [sys.executable, "-c", program], env=plain, capture_output=True, text=True, check=True
    )
    return int(told.stdout)


@pytest.mark.skipif(not ON_GLIBC, reason="other C libraries have no such setting")
def test_freed_memory_is_used_again_instead_of_being_taken_anew() -> None:
    assert page_faults("keep_what_is_freed()") * 10 < page_faults("")


def test_what_is_loaded_is_not_looked_through_for_garbage() -> None:
    program = (
        "import gc\n"
        "from perdure.app.memory import look_for_garbage_rarely\n"
        "look_for_garbage_rarely()\n"
        "print(gc.get_freeze_count(), *gc.get_threshold())\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    frozen, *thresholds = map(int, told.stdout.split())

    assert frozen > 1000
    assert thresholds[0] > gc.get_threshold()[0]
