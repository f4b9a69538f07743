"""Tags of connections: a few short strings by name, by which an application finds them again."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

__all__ = ["Tags", "tag_name"]

_MOST = 10
_NAME = r"^[a-zA-Z][a-zA-Z0-9_./-]*$"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")

_Name = Annotated[str, StringConstraints(max_length=64, pattern=_NAME)]
_Value = Annotated[str, StringConstraints(min_length=1, max_length=255)]


def tag_name(name: str) -> str:
    """Return the name that a tag is kept under, however it was written."""
    return name.lower()


def _kept(tags: dict[str, str]) -> dict[str, str]:
    kept = {tag_name(name): value for name, value in tags.items()}
    if len(kept) < len(tags):
        msg = "names that differ in upper and lower case only are the same tag"
        raise ValueError(msg)
    email = kept.get("end_user_email")
    if email is not None and not _EMAIL.fullmatch(email):
        msg = "`end_user_email` is not an e-mail address"
        raise ValueError(msg)
    return kept


Tags = Annotated[dict[_Name, _Value], Field(max_length=_MOST), AfterValidator(_kept)]
"""Up to ten tags.

Names begin with a letter and go on with letters, digits, `_`, `-`, `.` and `/`, up to 64; they are
kept in lower case. Values have up to 255 characters.
"""
