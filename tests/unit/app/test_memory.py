"""How processes take and give back memory."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys

import pytest

ON_GLIBC = platform.libc_ver()[0] == "glibc"

# Pages, taken and given back: how often does the system have to make memory ready?
PAGES = """
import resource
from perdure.app.memory import keep_what_is_freed
{first}
def page():
    records = [bytes({size}) for _ in range({records})]
    return len(records)
for _ in range(5):
    page()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    page()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
SMALL = {"size": 1400, "records": 3000}
LARGE = {"size": 4_000_000, "records": 3}
# How many times the system makes memory ready for 20 of either, if all of it is taken anew.
ALL_ANEW = 20_000


def page_faults(first: str, page: dict[str, int], **variables: str) -> int:
    program = PAGES.format(first=first, **page)
    plain = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    told = subprocess.run(
        [sys.executable, "-c", program],
        env=plain | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(told.stdout)


@pytest.mark.skipif(not ON_GLIBC, reason="other C libraries have no such setting")
@pytest.mark.parametrize("page", [SMALL, LARGE], ids=["small", "large"])
def test_freed_memory_is_used_again_instead_of_being_taken_anew(page: dict[str, int]) -> None:
    assert page_faults("keep_what_is_freed()", page) < ALL_ANEW / 10


@pytest.mark.skipif(not ON_GLIBC, reason="other C libraries have no such setting")
def test_what_the_environment_says_of_the_allocator_holds() -> None:
    first = "keep_what_is_freed()"

    assert page_faults(first, SMALL, MALLOC_TRIM_THRESHOLD_="0") > ALL_ANEW / 2


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
