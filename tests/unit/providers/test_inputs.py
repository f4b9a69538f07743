"""What may be filled in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.providers.inputs import InputField


@pytest.mark.parametrize(
    ("stated", "value"),
    [
        ({}, "anything at all"),
        ({}, 5),
        ({"pattern": "^[a-z]+$"}, "acme"),
        ({"pattern": "us"}, "eu-us-1"),
        ({"pattern": "(unclosed"}, "x"),
        ({"enum": ["eu", "com"]}, "eu"),
        ({"format": "hostname"}, "git.example.com"),
        ({"format": "hostname"}, "localhost:8080"),
        ({"format": "uri"}, "https://acme.example/api"),
        ({"format": "email"}, "ada@example.com"),
        ({"format": "password"}, "x"),
    ],
)
def test_value_that_fits_is_taken(stated: dict[str, Any], value: Any) -> None:
    assert InputField.model_validate(stated).fault(value) is None


@pytest.mark.parametrize(
    ("stated", "value", "told"),
    [
        ({"pattern": "^[a-z]+$"}, "evil.test/", "has to match"),
        ({"pattern": "^[a-z]+$"}, "acme\n", "has to match"),
        ({"enum": ["eu", "com"]}, "com.evil.test", "one of eu, com"),
        ({"format": "hostname"}, "https://git.example.com", "without https://"),
        ({"format": "hostname"}, "a@b", "name of a host"),
        ({"format": "hostname"}, "a/b", "name of a host"),
        ({"format": "hostname"}, "", "name of a host"),
        ({"format": "uri"}, "file:///etc/passwd", "http://"),
        ({"format": "uri"}, "https://user@evil.test", "http://"),
        ({"format": "uri"}, "https://[::1", "http://"),
        ({"format": "email"}, "ada", "e-mail"),
        ({}, "x" * 5000, "4,096"),
    ],
)
def test_value_that_does_not_fit_is_told(stated: dict[str, Any], value: Any, told: str) -> None:
    fault = InputField.model_validate(stated).fault(value)
    assert fault is not None
    assert told in fault


@given(st.text())
def test_host_name_never_ends_early(value: str) -> None:
    if InputField(format="hostname").fault(value) is None:
        assert not set(value) & set("/?#@\\ \n\t")
