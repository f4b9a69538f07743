"""The Temporal UI of `perdure dev` has payloads decrypted, without anything to be set up."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads

from perdure.crypto.keyring import KeyRing
from perdure.temporal.codec import EncryptionCodec
from tests.support.dev import dev_server

pytestmark = pytest.mark.slow


async def test_the_ui_is_told_an_endpoint_that_decrypts(tmp_path: Path) -> None:
    async with dev_server(tmp_path) as dev:
        secrets = json.loads((dev.data_dir / "secrets.json").read_text())
        codec = EncryptionCodec(KeyRing.parse(secrets["encryption_keys"]), "all")
        clear = Payload(metadata={"encoding": b"json/plain"}, data=b'"hush"')
        body = MessageToDict(Payloads(payloads=await codec.encode([clear])))
        ui = dev.info["temporal_ui_url"]
        async with httpx.AsyncClient(headers={"origin": ui}) as browser:
            told = (await browser.get(f"{ui}/api/v1/settings")).json()["Codec"]
            answer = await browser.post(f"{told['Endpoint']}/decode", json=body)
            without = await browser.post(f"{dev.info['api_url']}/codec/decode", json=body)

        assert answer.headers["access-control-allow-origin"] == ui
        (shown,) = answer.json()["payloads"]
        assert base64.b64decode(shown["data"]) == b'"hush"'
        assert without.status_code == 401
        assert secrets["secret_key"] not in told["Endpoint"]
        logs = "".join(log.read_text("utf-8") for log in (dev.data_dir / "logs").glob("api*"))
        assert told["Endpoint"].rpartition("/")[2] not in logs
        assert "/codec/.../decode" in logs
