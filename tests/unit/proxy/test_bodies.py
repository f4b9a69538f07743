import base64
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import InvalidInputError
from perdure.proxy.bodies import decode_body, decode_text, encode_body

FORM = "application/x-www-form-urlencoded"


def test_body_is_json_unless_a_content_type_says_otherwise() -> None:
    body = encode_body({"a": [1, None, "ü"]}, None)
    assert body.content == '{"a":[1,null,"ü"]}'.encode()
    assert body.content_type == "application/json"
    assert encode_body([1], "application/vnd.api+json").content_type == "application/vnd.api+json"


def test_number_of_any_size_can_be_sent() -> None:
    assert encode_body({"a": 10**30}, None).content == b'{"a": 1%s}' % (b"0" * 30)


def test_text_is_sent_as_it_is() -> None:
    body = encode_body("<a/>", "application/xml")
    assert (body.content, body.content_type) == (b"<a/>", "application/xml")
    assert encode_body("plain", None).content_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("data", "pairs"),
    [
        ({"a": 1, "b": True, "c": None, "d": "x y"}, "a=1&b=true&c=&d=x y"),
        (
            {"address": {"city": "Ulm", "geo": {"lat": 1.5}}},
            "address[city]=Ulm&address[geo][lat]=1.5",
        ),
        ({"expand": ["a", "b"]}, "expand[]=a&expand[]=b"),
        ({"items": [{"price": "p1"}, {"price": "p2"}]}, "items[0][price]=p1&items[1][price]=p2"),
        ({"empty": {}, "none": []}, ""),
    ],
)
def test_form_writes_nested_data_with_brackets(data: Any, pairs: str) -> None:
    body = encode_body(data, f"{FORM}; charset=utf-8")
    expected = [tuple(pair.split("=")) for pair in pairs.split("&") if pair]
    assert parse_qsl(body.content.decode(), keep_blank_values=True) == expected
    assert body.content_type == f"{FORM}; charset=utf-8"


def test_multipart_form_has_a_field_for_each_key() -> None:
    body = encode_body({"a": 1, "b": {"c": [1]}, "d": None}, "multipart/form-data")
    assert body.fields == (("a", "1"), ("b", '{"c":[1]}'), ("d", ""))
    assert body.content_type is None


@pytest.mark.parametrize("content_type", [FORM, "multipart/form-data"])
def test_form_of_something_else_than_an_object_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidInputError, match="a list of 1"):
        encode_body([1], content_type)


@pytest.mark.parametrize(
    ("content", "content_type", "data"),
    [
        (b'{"a":1}', "application/json", {"a": 1}),
        (b'{"a":1}', "application/problem+json; charset=utf-8", {"a": 1}),
        (b"[1]", "text/json", [1]),
        (b"", "application/json", None),
        (b" [1]", "", [1]),
        (b"\xef\xbb\xbf[1]", "application/json", [1]),
        ('"ü"'.encode("latin-1"), "application/json; charset=iso-8859-1", "ü"),
        (b"{broken", "application/json", "{broken"),
        (b"{broken", "", "{broken"),
        (b'{"a":1}', "text/plain", '{"a":1}'),
        ("ü".encode("latin-1"), "text/plain; charset=latin1", "ü"),
        ("ü".encode(), "text/plain; charset=no-such-charset", "ü"),
        ("ü".encode(), "text/html", "ü"),
        (b"", "", ""),
    ],
)
def test_content_type_decides_how_a_body_is_decoded(
    content: bytes, content_type: str, data: Any
) -> None:
    assert decode_body(content, {"content-type": content_type}) == (data, False)


def test_json_with_nan_is_still_json() -> None:
    data, _ = decode_body(b'{"a": NaN}', {"content-type": "application/json"})
    assert isinstance(data, dict)
    assert data["a"] != data["a"]


def test_bytes_that_are_no_text_come_as_base64() -> None:
    content = b"\x89PNG\xff\x00"
    data, is_base64 = decode_body(content, {"content-type": "image/png"})
    assert is_base64
    assert isinstance(data, str)
    assert base64.b64decode(data) == content


def test_half_characters_do_not_get_through() -> None:
    headers = {"content-type": "text/plain; charset=unicode_escape"}
    assert decode_body(rb"\ud800", headers) == (base64.b64encode(rb"\ud800").decode(), True)
    decode_text(rb"\ud800", headers).encode()


def test_response_type_wins_over_the_content_type() -> None:
    headers = {"content-type": "application/json"}
    assert decode_body(b"[1]", headers, "text") == ("[1]", False)
    assert decode_body(b"[1]", headers, "arraybuffer") == ("WzFd", True)
    assert decode_body(b"[1]", headers, "stream") == ("WzFd", True)
    assert decode_body(b"[1]", {"content-type": "text/html"}, "json") == ([1], False)
    assert decode_body(b"<p>", {"content-type": "text/html"}, "json") == ("<p>", False)


@given(content=st.binary(max_size=40), content_type=st.text(max_size=40))
def test_no_body_is_lost(content: bytes, content_type: str) -> None:
    data, is_base64 = decode_body(content, {"content-type": content_type}, "text")
    assert isinstance(data, str)
    if is_base64:
        assert base64.b64decode(data) == content
    assert isinstance(decode_text(content, {"content-type": content_type}), str)
