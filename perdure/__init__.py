"""Perdure: a durable integration engine on Temporal.

This package is what script authors import. It stays light: nothing here opens a connection.
"""

from perdure._version import __version__
from perdure.nango import (
    ActionError,
    EachError,
    HelperError,
    HttpError,
    NangoAction,
    NangoSync,
    Pages,
    RequestOptions,
    Response,
    SavedPages,
)

__all__ = [
    "ActionError",
    "EachError",
    "HelperError",
    "HttpError",
    "NangoAction",
    "NangoSync",
    "Pages",
    "RequestOptions",
    "Response",
    "SavedPages",
    "__version__",
]
