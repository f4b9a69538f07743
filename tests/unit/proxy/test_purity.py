import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "perdure.proxy.requests",
        "perdure.proxy.pagination",
        "perdure.proxy.retry",
        "perdure.proxy.client",
        "perdure.providers.provider_catalog",
        "perdure.connections.interpolation",
    ],
)
def test_only_the_transport_loads_an_http_client(module: str) -> None:
    forbidden = "{'aiohttp', 'httpx', 'temporalio', 'asyncpg', 'fastapi'}"
    code = f"import sys, {module}; print(sorted({forbidden} & sys.modules.keys()))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert loaded.stdout.strip() == "[]"
