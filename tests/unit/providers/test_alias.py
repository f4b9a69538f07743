"""What an entry takes over from the one that it names as its alias."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.errors import StartupError
from perdure.providers.provider_catalog import ProviderCatalog

keys = st.sampled_from(["a", "b", "c", "d"])
leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["x", "y"])
leaves |= st.lists(st.integers(0, 3), max_size=2)
trees = st.recursive(leaves, lambda below: st.dictionaries(keys, below, max_size=3), max_leaves=8)
fields = st.dictionaries(keys, trees, max_size=3)

properties = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def load(folder: Path, *files: dict[str, Any]) -> ProviderCatalog:
    for index, content in enumerate(files):
        # JSON is YAML; what fields hold that nothing reads is kept as it is.
        (folder / f"{index}.yaml").write_text(json.dumps(content))
    return ProviderCatalog.load(folder)


def entry(stated: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"display_name": "D", "auth_mode": "NONE", "x": stated, **more}


def expected(base: Any, own: Any) -> Any:
    """Return what is left of two values: the rule, said once more in another way."""
    if isinstance(base, dict) and isinstance(own, dict):
        names = [*base, *(name for name in own if name not in base)]
        joined = {n: expected(base.get(n), own[n]) if n in own else base[n] for n in names}
        return {name: value for name, value in joined.items() if value is not None}
    return without_empty(own)


def without_empty(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {n: without_empty(below) for n, below in value.items() if below is not None}


@properties
@given(fields, fields)
def test_own_fields_win_mapping_by_mapping(tmp_path: Path, base: dict, own: dict) -> None:
    made = load(tmp_path, {"base": entry(base), "own": {"alias": "base", "x": own}})

    assert made.entry("own")["x"] == expected(without_empty(base), own)
    assert made.entry("base")["x"] == without_empty(base)
    assert made.get("own").display_name == "D"


@properties
@given(fields, fields, fields)
def test_alias_of_an_alias_starts_from_what_that_became(
    tmp_path: Path, first: dict, second: dict, third: dict
) -> None:
    chain = {
        "third": {"alias": "second", "x": third},
        "second": {"alias": "first", "x": second},
        "first": entry(first),
    }

    made = load(tmp_path, chain)

    became = expected(without_empty(first), second)
    assert made.entry("second")["x"] == became
    assert made.entry("third")["x"] == expected(became, third)


@properties
@given(fields)
def test_alias_that_states_nothing_is_the_same(tmp_path: Path, base: dict) -> None:
    made = load(tmp_path, {"base": entry(base), "same": {"alias": "base"}})

    own, same = made.entry("base"), made.entry("same")
    assert same.pop("alias") == "base"
    assert same == own


@properties
@given(fields, fields)
def test_later_file_may_start_from_what_it_replaces(tmp_path: Path, base: dict, own: dict) -> None:
    made = load(tmp_path, {"p": entry(base)}, {"p": {"alias": "p", "x": own}})

    assert made.entry("p")["x"] == expected(without_empty(base), own)


def test_own_entry_is_extended_under_its_own_name(tmp_path: Path) -> None:
    own = {"hubspot": {"alias": "hubspot", "proxy": {"retry": None, "query": {"hapi": "1"}}}}

    made = load(tmp_path, own).get("hubspot")

    assert made.proxy.query == {"hapi": "1"}
    assert made.proxy.retry.after == ()
    assert made.authorization_url == "https://app.hubspot.com/oauth/authorize"


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_circle_is_told_with_its_place(tmp_path: Path, name: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("a:\n  alias: b\nb:\n  alias: c\nc:\n  alias: a\n")

    with pytest.raises(
        StartupError, match=rf"alias '{name}' of the provider '.' leads back"
    ) as told:
        ProviderCatalog.load(file)
    assert f"{file}:" in told.value.message


def test_alias_of_the_own_name_needs_an_earlier_entry(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("acme: {alias: acme}")

    with pytest.raises(StartupError, match=r"own.yaml:1:15: .*no earlier one"):
        ProviderCatalog.load(file)
