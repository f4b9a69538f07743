"""Keeps scripts from leaving anything on the classes of `models.py`.

These are shared by all runs of a process, as is what pydantic has built for them. What a script
kept there would be seen by other runs, of other customers, and by a replay of its own.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NoReturn

from pydantic import BaseModel

__all__ = ["fix_models"]

_MARK = "__perdure_fixed__"


def fix_models(module: ModuleType) -> None:
    """Have a module, and the models that it defines, refuse to be changed by attribute.

    Classes that are derived from them elsewhere belong to their run and can be changed.

    Args:
        module: The bundle's `models`, as it was executed.
    """
    for value in list(vars(module).values()):
        is_model = isinstance(value, type) and issubclass(value, BaseModel)
        if is_model and value.__module__ == module.__name__:
            type.__setattr__(value, _MARK, value)
            value.__class__ = _FixedClass
    module.__class__ = _FixedModule


class _FixedModule(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        del value
        _refuse("models", name)

    def __delattr__(self, name: str) -> None:
        _refuse("models", name)


def _set(cls: type, name: str, value: Any) -> None:
    _check(cls, name)
    type.__setattr__(cls, name, value)


def _delete(cls: type, name: str) -> None:
    _check(cls, name)
    type.__delattr__(cls, name)


# pydantic does not name its metaclass in public.
_FixedClass = type("_FixedClass", (type(BaseModel),), {"__setattr__": _set, "__delattr__": _delete})


def _check(cls: type, name: str) -> None:
    # What pydantic builds on first use has names of this form.
    is_own = name.startswith("__") and name.endswith("__")
    if not is_own and vars(cls).get(_MARK) is cls:
        _refuse(cls.__name__, name)


def _refuse(owner: str, name: str) -> NoReturn:
    msg = (
        f"{owner}.{name} cannot be changed: what models.py defines is shared by all runs. Keep it "
        "in a variable of the script, or derive a class from the model"
    )
    raise AttributeError(msg)
