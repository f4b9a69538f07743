"""Every page of the how-tos, followed by doing what it says."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of
from tests.docs.example_api import KEY, example_api
from tests.docs.walk import ROOT, Walk, free_port
from tests.support.dev import DevServer, dev_server
from tests.support.secret_texts import SECRETS

HOW_TOS = ROOT / "docs" / "how-to"

ACCOUNTS = "https://accounts.example.com"
WITH_THE_SECRET_KEY = {"environments.md"}
"""Pages that do what a key of one environment may not."""
NOT_FOLLOWED_HERE = {"index.md", "rotate-keys.md"}
"""The list of pages, and one that is followed with processes of its own."""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_how_tos_do_what_they_say(tmp_path: Path, subtests: pytest.Subtests) -> None:
    SECRETS.learn(KEY, "key of the API that the how-tos speak to")
    pages = sorted(p for p in HOW_TOS.glob("*.md") if p.name not in NOT_FOLLOWED_HERE)
    assert len(pages) >= 10
    (tmp_path / "stack").mkdir()
    providers = tmp_path / "providers.yaml"
    with example_api() as accounts:
        providers.write_text(provider_of("oauth.md").replace(ACCOUNTS, accounts))
        env = {"PERDURE_PROVIDERS": str(providers)}
        async with dev_server(tmp_path / "stack", env=env) as dev:
            for page in pages:
                folder = tmp_path / page.stem
                folder.mkdir()
                with subtests.test(page.name):
                    await follow(page, folder, dev, accounts)


def provider_of(page: str) -> str:
    """The provider's entry that a page shows; processes read it when they start."""
    (block,) = (b for b in blocks_of(HOW_TOS / page, page) if b.title.startswith("providers/"))
    return block.content


async def follow(page: Path, folder: Path, dev: DevServer, accounts: str) -> None:
    """Follow a page in an environment of its own."""
    name = f"{page.stem[:20]}-{uuid.uuid4().hex[:6]}"
    made = await dev.call("POST", "/environments", expect=201, json={"name": name})
    key = SECRETS.learn(made["key"]["api_key"], "key of an environment of a how-to")
    if page.name in WITH_THE_SECRET_KEY:
        key = dev.info["secret_key"]
    variables = {"NANGO_HOSTPORT": dev.info["api_url"], "NANGO_SECRET_KEY_DEV": key}
    with example_api() as api:
        instead = {
            "https://api.example.com": api,
            ACCOUNTS: accounts,
            "http://localhost:3003": dev.info["api_url"],
            "/webhook/dev/": f"/webhook/{name}/",
            "8080": free_port(),
        }
        walk = Walk(folder, instead, variables)
        try:
            for block in blocks_of(page, page.name):
                if block.not_run is None:
                    await asyncio.to_thread(walk.follow, block)
        finally:
            await asyncio.to_thread(walk.end)
