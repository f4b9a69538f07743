"""Runs leave nothing on the models that they share, and use them as ever."""

from __future__ import annotations

from types import ModuleType

import pytest
from pydantic import ValidationError

from config.compile import compile_project
from perdure.ids import BundleHash
from perdure.scripts.bundle import Bundle
from perdure.scripts.loader import shared_models
from tests.support.project import project


@pytest.fixture
def models() -> ModuleType:
    compiled = compile_project(project()).project
    module = shared_models(Bundle(BundleHash(compiled.hash), compiled.files))
    assert module is not None
    return module


@pytest.mark.parametrize("name", ["seen", "_seen", "model_config"])
def test_a_class_takes_no_state(models: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"Issue\.{name} cannot be changed: .* all runs"):
        setattr(models.Issue, name, {})

    assert vars(models.Issue).get(name) != {}


def test_a_class_loses_nothing(models: ModuleType) -> None:
    with pytest.raises(AttributeError, match="cannot be changed"):
        del models.Issue.model_config


def test_the_module_takes_no_state(models: ModuleType) -> None:
    with pytest.raises(AttributeError, match=r"models\.seen cannot be changed"):
        models.seen = 1
    with pytest.raises(AttributeError, match=r"models\.Issue cannot be changed"):
        del models.Issue

    assert not hasattr(models, "seen")


def test_models_work_as_ever(models: ModuleType) -> None:
    issue = models.Issue(id="1", title="t", more=2)
    issue.title = "u"

    assert issue.model_dump() == {"id": "1", "title": "u", "more": 2}
    assert isinstance(issue, models.Issue)
    with pytest.raises(ValidationError):
        models.Issue(id="1")
    assert models.Issue.model_rebuild(force=True)


def test_a_class_that_a_script_derives_is_its_own(models: ModuleType) -> None:
    class Mine(models.Issue):  # type: ignore[misc, name-defined]  # made at run time
        note: str = ""

    Mine.seen = 1

    assert Mine.seen == 1
    assert Mine(id="1", title="t").model_dump() == {"id": "1", "title": "t", "note": ""}
    assert not hasattr(models.Issue, "seen")
