"""Bodies: JSON values to the bytes of a request, the bytes of an answer to JSON values.

Nothing is lost on the way in: what is neither JSON nor text of its declared encoding comes as
base64.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urlencode

import orjson
from pydantic import JsonValue

from perdure.errors import InvalidInputError
from perdure.proxy.json_path import describe
from perdure.proxy.requests import ResponseType

__all__ = ["RequestBody", "decode_body", "decode_text", "encode_body"]

_UNPAIRED_SURROGATE = re.compile("[\ud800-\udfff]")
_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class RequestBody:
    """An encoded body.

    Attributes:
        content: Its bytes; empty for a multipart form.
        content_type: None for a multipart form, whose boundary the transport chooses.
        fields: Names and values of a multipart form.
    """

    content: bytes = b""
    content_type: str | None = None
    fields: tuple[tuple[str, str], ...] = ()


def encode_body(data: JsonValue, content_type: str | None) -> RequestBody:
    """Encode the body of a request.

    Args:
        data: Text is sent as it is; everything else as `content_type` says.
        content_type: JSON when None. In a form, nested objects are written `a[b]=c`, lists of
            values `a[]=c`, lists of objects `a[0][b]=c`, and null is an empty value.

    Raises:
        InvalidInputError: With code `invalid_body`, if a form is not made from an object.
    """
    media_type = _media_type(content_type)
    if isinstance(data, str):
        return RequestBody(data.encode(), content_type or "text/plain; charset=utf-8")
    if media_type in {_FORM, _MULTIPART}:
        if not isinstance(data, dict):
            raise InvalidInputError(
                f"A body of type {media_type} is made from an object; data is {describe(data)}."
            )
        if media_type == _MULTIPART:
            return RequestBody(fields=tuple((name, _field(value)) for name, value in data.items()))
        return RequestBody(urlencode(list(_form_pairs(data))).encode("ascii"), content_type)
    return RequestBody(_json(data), content_type or "application/json")


def decode_body(
    content: bytes, headers: Mapping[str, str], response_type: ResponseType | None = None
) -> tuple[JsonValue, bool]:
    """Decode the body of an answer.

    Args:
        content: Its bytes, decompressed.
        headers: Headers with lower-case names.
        response_type: What the request asked for; by default the content type decides.

    Returns:
        The value, and whether it is base64. An empty JSON body is None.
    """
    if response_type in {"arraybuffer", "blob", "stream"}:
        return base64.b64encode(content).decode("ascii"), True
    content_type = headers.get("content-type", "")
    if response_type == "json" or (
        response_type is None and _looks_like_json(content_type, content)
    ):
        if not content:
            return None, False
        try:
            return orjson.loads(content), False
        except orjson.JSONDecodeError:
            # NaN, a byte order mark or another encoding than UTF-8; or no JSON after all.
            try:
                # Half an emoji, cut off by whoever shortened a text, is replaced: neither a
                # history nor the database can hold it.
                value: JsonValue = json.loads(_text(content, content_type))
                text = json.dumps(value, ensure_ascii=False)
                return json.loads(_UNPAIRED_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)), False
            except ValueError:
                pass
    try:
        return _text(content, content_type), False
    except ValueError:
        return base64.b64encode(content).decode("ascii"), True


def decode_text(content: bytes, headers: Mapping[str, str]) -> str:
    """Return a body as text for people, with marks in the place of what is no text."""
    try:
        return _text(content, headers.get("content-type", ""))
    except ValueError:
        return content.decode("utf-8", errors="replace")


def _looks_like_json(content_type: str, content: bytes) -> bool:
    media_type = _media_type(content_type)
    if not media_type:
        return content.lstrip()[:1] in {b"{", b"["}
    return media_type in {"application/json", "text/json"} or media_type.endswith("+json")


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _text(content: bytes, content_type: str) -> str:
    charset = None
    if "charset" in content_type.lower():
        message = Message()
        message["content-type"] = content_type
        charset = message.get_content_charset()
    if charset is None or charset in {"utf-8", "utf8"}:
        return content.decode("utf-8-sig")
    try:
        text = content.decode(charset)
    except LookupError:
        return content.decode("utf-8-sig")
    # Some of Python's encodings can make half characters, which no other text can hold.
    text.encode()
    return text


def _json(data: JsonValue) -> bytes:
    try:
        return orjson.dumps(data)
    except orjson.JSONEncodeError:
        # Integers beyond 64 bits and lone surrogates are JSON all the same.
        return json.dumps(data).encode("ascii")


def _field(value: JsonValue) -> str:
    if isinstance(value, dict | list):
        return _json(value).decode()
    return _scalar(value)


def _form_pairs(data: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        name = f"{prefix}[{key}]" if prefix else key
        if isinstance(value, dict):
            yield from _form_pairs(value, name)
        elif isinstance(value, list):
            if any(isinstance(element, dict | list) for element in value):
                numbered = {str(index): element for index, element in enumerate(value)}
                yield from _form_pairs(numbered, name)
            else:
                yield from ((f"{name}[]", _scalar(element)) for element in value)
        else:
            yield name, _scalar(value)


def _scalar(value: JsonValue) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
