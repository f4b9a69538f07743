"""The helper that every script receives, as its authors see it.

The classes here are the contract only: in a run the durable implementation of
`workflows.nango` stands behind them, and in tests a fake may. Everything a script needs to
import from Perdure is re-exported by the package itself: `from perdure import NangoSync`.
"""

from perdure.nango.action import NangoAction
from perdure.nango.errors import ActionError, EachError, HelperError, HttpError
from perdure.nango.sync import NangoSync
from perdure.nango.values import (
    CheckpointValue,
    DeletedKeys,
    EnvironmentVariable,
    JsonObject,
    LoggerLevel,
    LogLevel,
    MergingStrategy,
    NamedSync,
    Pages,
    PaginateOptions,
    Record,
    RequestOptions,
    Response,
    SavedPages,
)

__all__ = [
    "ActionError",
    "CheckpointValue",
    "DeletedKeys",
    "EachError",
    "EnvironmentVariable",
    "HelperError",
    "HttpError",
    "JsonObject",
    "LogLevel",
    "LoggerLevel",
    "MergingStrategy",
    "NamedSync",
    "NangoAction",
    "NangoSync",
    "Pages",
    "PaginateOptions",
    "Record",
    "RequestOptions",
    "Response",
    "SavedPages",
]
