from typing import Any

import pytest

from perdure.errors import InvalidInputError
from perdure.proxy.requests import HttpRequest
from perdure.proxy.urls import add_query, check_base_url, drop_query, query_pairs, resolve


def url_of(base: str, endpoint: str = "/x", **fields: Any) -> str:
    return resolve(HttpRequest(endpoint=endpoint, **fields), check_base_url(base)).url


@pytest.mark.parametrize(
    ("base", "endpoint", "url"),
    [
        ("https://a.test", "/x", "https://a.test/x"),
        ("https://a.test/", "x", "https://a.test/x"),
        ("https://a.test/v1/", "/x/y/", "https://a.test/v1/x/y/"),
        ("https://a.test/v1", "", "https://a.test/v1"),
        ("https://a.test", "", "https://a.test/"),
        ("https://a.test", "/x?a=1", "https://a.test/x?a=1"),
        ("https://a.test?key=1", "/x?a=1", "https://a.test/x?key=1&a=1"),
        ("https://a.test", "//evil.test/x", "https://a.test/evil.test/x"),
        ("https://a.test", "@evil.test/x", "https://a.test/@evil.test/x"),
        ("https://a.test", "/x#part", "https://a.test/x"),
        ("https://a.test/v1", "https://a.test/v1/x", "https://a.test/v1/x"),
        ("https://a.test/v1", "HTTPS://A.test:443/v1/x#y", "https://A.test:443/v1/x"),
    ],
)
def test_endpoint_is_below_the_base_url(base: str, endpoint: str, url: str) -> None:
    assert url_of(base, endpoint) == url


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://a.test.evil.test/x",
        "https://evil.test/v1/x",
        "http://a.test/v1/x",
        "https://a.test:8443/v1/x",
    ],
)
def test_endpoint_on_another_origin_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidInputError, match="base_url_override") as raised:
        url_of("https://a.test/v1", endpoint)
    assert raised.value.code == "invalid_url"


@pytest.mark.parametrize(
    "base",
    [
        "ftp://a.test",
        "a.test",
        "https://",
        "https://user:pass-word@a.test",
        "https://a.test\\@evil.test",
        "https://a.test:pass-word",
        "https://[::1",
        "",
    ],
)
def test_base_url_that_is_none_is_refused_without_quoting_secrets(base: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        check_base_url(base)
    assert raised.value.code == "invalid_url"
    assert "pass-word@" not in raised.value.message
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"a": 1, "b": True, "c": None, "d": 1.5, "e": "x y&z"}, "a=1&b=true&d=1.5&e=x%20y%26z"),
        ({"a": ["x", 2, None, False]}, "a=x&a=2&a=false"),
        ("a=b", "a=b"),
        ("?a=b,c:d&e=%20", "a=b,c:d&e=%20"),
        ({}, ""),
        ("", ""),
    ],
)
def test_parameters_make_the_query(params: Any, query: str) -> None:
    expected = f"https://a.test/x?{query}".removesuffix("?")
    assert url_of("https://a.test", params=params) == expected


def test_parameters_join_the_query_of_the_endpoint() -> None:
    assert url_of("https://a.test", "/x?a=1", params={"b": 2}) == "https://a.test/x?a=1&b=2"
    assert url_of("https://a.test", "/x?", params="b=2") == "https://a.test/x?b=2"


def test_query_is_added_at_the_end() -> None:
    assert add_query("https://a.test/x?a=1", [("k", "v w")]) == "https://a.test/x?a=1&k=v%20w"
    assert add_query("https://a.test/x", []) == "https://a.test/x"
    assert query_pairs({"a": [1, 2]}) == [("a", "1"), ("a", "2")]


@pytest.mark.parametrize(
    ("url", "left"),
    [
        ("https://a.test/x?key=1&b=%20&k%65y=2", "https://a.test/x?b=%20"),
        ("?key=1#f", "#f"),
        ("/x?b=1", "/x?b=1"),
        ("/key", "/key"),
    ],
)
def test_parameters_are_dropped_by_name(url: str, left: str) -> None:
    assert drop_query(url, {"key"}) == left


@pytest.mark.parametrize(
    ("link", "url", "trusted"),
    [
        ("https://a.test/v2/x?page=2", "https://a.test/v2/x?page=2", True),
        ("https://a.test/other?page=2", "https://a.test/other?page=2", True),
        ("//a.test/v2/x?page=2", "https://a.test/v2/x?page=2", True),
        ("http://a.test/v2/x?page=2", "https://a.test/v2/x?page=2", True),
        ("/x?page=2", "https://a.test/v2/x?page=2", True),
        ("/v2/x?page=2", "https://a.test/v2/x?page=2", True),
        ("/v2?page=2", "https://a.test/v2?page=2", True),
        ("/v20/x", "https://a.test/v2/v20/x", True),
        ("?page=2", "https://a.test/v2/x?page=2", True),
        ("x?page=2", "https://a.test/v2/x?page=2", True),
        ("https://b.test/x?page=2", "https://b.test/x?page=2", False),
        ("http://a.test:8080/x", "http://a.test:8080/x", False),
        ("//b.test/x", "https://b.test/x", False),
        ("https://a.test.b.test/x", "https://a.test.b.test/x", False),
    ],
)
def test_link_is_followed_with_credentials_only_at_home(link: str, url: str, trusted: bool) -> None:
    request = HttpRequest(endpoint="/x?a=1", next_link=link)
    target = resolve(request, "https://a.test/v2")
    assert (target.url, target.trusted) == (url, trusted)


@pytest.mark.parametrize("link", ["ftp://a.test/x", "https://k:v@a.test/x", "javascript://a/x"])
def test_link_that_is_no_plain_url_is_refused(link: str) -> None:
    with pytest.raises(InvalidInputError):
        resolve(HttpRequest(endpoint="/x", next_link=link), "https://a.test")
