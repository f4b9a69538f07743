"""The tutorial, walked from its first line to its last by doing what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of
from tests.docs.walk import ROOT, Walk, free_port

DEV = """
perdure() {
  case "$1" in
    dev) shift; command perdure dev --port %s --temporal-port 0 --ui-port 0 "$@" ;;
    *) command perdure "$@" ;;
  esac
}
"""
"""Other tests have the ports that `perdure dev` takes by default."""


@pytest.mark.timeout(400)
def test_tutorial_does_what_it_says(tmp_path: Path) -> None:
    api, dev = free_port(), free_port()
    instead = {
        "9000": api,
        "localhost:3003": f"localhost:{dev}",
        "127.0.0.1:3003": f"127.0.0.1:{dev}",
    }
    walk = Walk(tmp_path, instead, {}, DEV % dev)
    try:
        for block in blocks_of(ROOT / "docs/tutorial.md", "tutorial.md"):
            if block.not_run is None:
                walk.follow(block)
    finally:
        walk.end()
