"""Signatures, against values that `openssl dgst` computed."""

from __future__ import annotations

from perdure.webhooks.headers import webhook_headers

KEY = "3f2a9c0d"
BODY = (
    '{"connectionId":"acme","from":"nango","model":"Straße",'
    '"responseResults":{"added":1,"deleted":0,"updated":2},"success":true,"type":"sync"}'
).encode()


def test_both_signatures_are_those_that_nangos_client_checks() -> None:
    headers = webhook_headers(BODY, signing_key=KEY, delivery_id="d-1")

    assert headers == {
        "content-type": "application/json",
        "user-agent": "nango",
        # printf '%s%s' KEY BODY | openssl dgst -sha256
        "x-nango-signature": "f7933d47f9626ad753f39a25a8fa9f3f8c5abd6e480be8ad39b88f452d7d984c",
        # openssl dgst -sha256 -hmac KEY
        "x-nango-hmac-sha256": "cf3af808522a77cef1f7854ea2d992002758eb6104fda6f1d21617a7ffec066c",
        "x-perdure-delivery": "d-1",
    }


def test_another_key_or_body_has_other_signatures() -> None:
    signed = webhook_headers(BODY, signing_key=KEY, delivery_id="d-1")
    for body, key in ((BODY + b" ", KEY), (BODY, KEY + "0")):
        other = webhook_headers(body, signing_key=key, delivery_id="d-1")
        for name in ("x-nango-signature", "x-nango-hmac-sha256"):
            assert other[name] != signed[name]
