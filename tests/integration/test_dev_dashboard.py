"""`perdure dev` prints a link to the dashboard that signs in, and writes it nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.support.dev import dev_server

pytestmark = pytest.mark.slow


async def test_printed_link_signs_in(tmp_path: Path) -> None:
    async with dev_server(tmp_path) as dev:
        printed = (tmp_path / "dev.log").read_text()
        link = re.search(r"Dashboard +(http://\S+)", printed)
        assert link is not None
        assert dev.info["secret_key"] not in printed
        async with httpx.AsyncClient(follow_redirects=True) as browser:
            shown = await browser.get(link.group(1))
        assert str(shown.url) == f"{dev.info['api_url']}/dashboard/"
        assert "Nothing is scheduled yet" in shown.text

        logs = "".join(log.read_text("utf-8") for log in (dev.data_dir / "logs").glob("api*"))
        assert "/dashboard/sign-in" in logs
        assert link.group(1).partition("ticket=")[2][:40] not in logs
