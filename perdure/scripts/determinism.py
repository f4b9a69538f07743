"""What `datetime`, `time`, `random` and `uuid` are for a script that runs as workflow code.

People write `datetime.now()` and `uuid4()` without a thought. Inside a workflow these must give
the same answer when the history is replayed, so scripts get modules of the same name whose clock
is the workflow's clock and whose randomness comes from the workflow's seed. Everything else in
them is the standard library's own.
"""

from __future__ import annotations

import asyncio as _asyncio
import datetime as _datetime
import random as _random
import time as _time
import uuid as _uuid
import zoneinfo as _zoneinfo
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NoReturn

from temporalio import workflow

from perdure.scripts.guard import ForbiddenInScriptError

__all__ = ["deterministic_modules"]


class _RealInstances(type):
    """Makes `isinstance(x, datetime)` true for the values the standard library makes."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__mro__[1])


class _Datetime(_datetime.datetime, metaclass=_RealInstances):
    """`datetime` on the workflow's clock; constructing it gives a plain `datetime`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _datetime.datetime:  # type: ignore[misc]  # on purpose no instance of itself
        return _datetime.datetime(*args, **kwargs)  # noqa: DTZ001 - as the script asks

    @classmethod
    def now(cls, tz: _datetime.tzinfo | None = None) -> _datetime.datetime:  # type: ignore[override]  # a plain datetime
        moment = workflow.now()
        return moment.astimezone(tz) if tz else moment.replace(tzinfo=None)

    @classmethod
    def utcnow(cls) -> _datetime.datetime:  # type: ignore[override]  # a plain datetime
        return workflow.now().replace(tzinfo=None)

    @classmethod
    def today(cls) -> _datetime.datetime:  # type: ignore[override]  # a plain datetime
        return cls.now()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(_datetime.datetime)


class _Date(_datetime.date, metaclass=_RealInstances):
    """`date` on the workflow's clock, in UTC."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _datetime.date:  # type: ignore[misc]  # on purpose no instance of itself
        return _datetime.date(*args, **kwargs)

    @classmethod
    def today(cls) -> _datetime.date:  # type: ignore[override]  # a plain date
        return workflow.now().date()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(_datetime.date)


class _SeededRandom(_random.Random):
    """`Random()` without a seed takes one from the workflow instead of from the machine."""

    def __init__(self, x: Any = None) -> None:
        super().__init__(workflow.random().getrandbits(64) if x is None else x)


def _derive(original: ModuleType, **replaced: Any) -> ModuleType:
    module = ModuleType(original.__name__, original.__doc__)
    module.__dict__.update(
        {k: v for k, v in vars(original).items() if not k.startswith("__") or k == "__all__"}
    )
    module.__dict__.update(replaced)
    return module


def _forbid(name: str) -> Callable[..., NoReturn]:
    def forbidden(*args: Any, **kwargs: Any) -> NoReturn:
        del args, kwargs
        raise ForbiddenInScriptError(name)

    return forbidden


def _datetime_module() -> ModuleType:
    return _derive(_datetime, datetime=_Datetime, date=_Date)


def _time_module() -> ModuleType:
    def seconds() -> float:
        return workflow.time()

    def nanoseconds() -> int:
        return workflow.time_ns()

    def gmtime(secs: float | None = None) -> _time.struct_time:
        return _time.gmtime(workflow.time() if secs is None else secs)

    def ctime(secs: float | None = None) -> str:
        return _time.asctime(gmtime(secs))

    def strftime(format: str, t: Any = None) -> str:  # noqa: A002 - the standard library's name
        return _time.strftime(format, gmtime() if t is None else t)

    clocks = ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    return _derive(
        _time,
        **dict.fromkeys(clocks, seconds),
        **{f"{name}_ns": nanoseconds for name in clocks},
        gmtime=gmtime,
        localtime=gmtime,
        ctime=ctime,
        strftime=strftime,
        sleep=_forbid("time.sleep"),
    )


def _random_module() -> ModuleType:
    """Module functions are methods of the workflow's own generator, looked up at each call."""
    functions = [
        name
        for name in vars(_random)
        if not name.startswith("_") and callable(getattr(_random.Random, name, None))
    ]

    def bound(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(workflow.random(), name)(*args, **kwargs)

        return call

    return _derive(
        _random,
        **{name: bound(name) for name in functions},
        Random=_SeededRandom,
        SystemRandom=_forbid("random.SystemRandom"),
    )


def _uuid_module() -> ModuleType:
    def uuid1(node: int | None = None, clock_seq: int | None = None) -> _uuid.UUID:
        del node, clock_seq
        return workflow.uuid4()

    return _derive(_uuid, uuid1=uuid1, uuid4=workflow.uuid4, uuid7=workflow.uuid7)


def _asyncio_module() -> ModuleType:
    """`wait` and `as_completed` go through sets, whose order is another one at each replay."""
    return _derive(_asyncio, wait=workflow.wait, as_completed=workflow.as_completed)


_MODULES: Mapping[str, ModuleType] = {
    "asyncio": _asyncio_module(),
    "datetime": _datetime_module(),
    "time": _time_module(),
    "random": _random_module(),
    "uuid": _uuid_module(),
    # As it is: the sandbox's stand-in for its class is no `tzinfo` to the datetime module.
    "zoneinfo": _zoneinfo,
}


def deterministic_modules() -> Mapping[str, ModuleType]:
    """Return the replacements by module name."""
    return _MODULES
