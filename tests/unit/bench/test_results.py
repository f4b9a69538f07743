"""What is made of the figures, and how pieces come together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.measurements import Group, Measurement
from bench.results import Results
from bench.table import show

MACHINE = {"cores": 2}
ABOUT = {"source": {"records_per_s": 300_000.0}}


def measured(peer: str, number: int, seconds: float, **group: Any) -> Measurement:
    described = {"records": 100_000, "page": 100, "phase": "first", **group}
    return Measurement(
        group=Group(peer, **described),
        round=number,
        seconds=seconds,
        client_cpu_s=seconds,
        temporal_cpu_s=0.1,
        postgres_cpu_s=0.2,
        source_cpu_s=0.1,
        peak_rss_mb=100 + number,
        rss_growth_mb=1.0,
    )


def calls(action_ms: float, bare_ms: float) -> dict[str, Any]:
    def together(ms: float) -> list[dict[str, float]]:
        return [{"per_s": 1000 / ms, "p50_ms": 20 * ms, "max_ms": 50 * ms}]

    return {
        "one_by_one_ms": {"action": [action_ms] * 3, "bare": [bare_ms] * 3},
        "at_once": {"action": together(action_ms), "bare": together(bare_ms)},
    }


def met(results: Results) -> dict[str, bool]:
    return {target["name"]: target["met"] for target in results.targets()}


def test_a_target_is_judged_by_the_rounds_own_ratios() -> None:
    results = Results(MACHINE, {})
    found = [measured("bare", n, 10.0) for n in range(3)]
    found += [measured("save", 0, 10.5), measured("save", 1, 11.0), measured("save", 2, 20.0)]
    results.put("100k", found, about=ABOUT)
    [target] = results.targets()
    assert target["value"] == pytest.approx(10 / 11, abs=0.001)
    assert target["met"]


def test_a_second_run_may_not_take_longer_than_the_first() -> None:
    results = Results(MACHINE, {})
    found = [measured("bare", 0, 10.0), measured("save", 0, 10.0)]
    found.append(measured("save", 0, 10.1, phase="again"))
    results.put("100k", found, about=ABOUT)
    assert [m for name, m in met(results).items() if "unchanged" in name] == [False]


def test_what_was_not_measured_is_no_target() -> None:
    assert Results(MACHINE, {}).targets() == []
    assert Results(MACHINE, {}).actions() is None


def test_actions_are_judged_by_their_median_and_by_many_at_once() -> None:
    results = Results(MACHINE, {})
    results.put("actions", [], about={}, calls=calls(action_ms=12.0, bare_ms=10.0))
    assert list(met(results).values()) == [True, False]


def test_a_piece_that_is_measured_again_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    first = Results.begun_on(MACHINE, path)
    first.put("100k", [measured("bare", 0, 10.0)], about=ABOUT)
    first.put("actions", [], about={}, calls=calls(12.0, 10.0))
    first.write(path)

    second = Results.begun_on(MACHINE, path)
    second.put("100k", [measured("bare", 0, 20.0)], about=ABOUT)
    second.write(path)

    stored = json.loads(path.read_text())
    assert [row["seconds"] for row in stored["medians"]] == [20.0]
    assert stored["actions"]["action"]["p50_ms"] == 12.0


def test_figures_of_another_machine_are_not_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results = Results(MACHINE, {})
    results.put("100k", [measured("bare", 0, 10.0)], about=ABOUT)
    results.write(path)
    assert Results.begun_on({"cores": 64}, path).pieces == {}


def test_the_table_says_how_far_the_api_is_from_its_limit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = Results(MACHINE, {})
    results.put("100k", [measured("bare", 0, 10.0), measured("dlt", 0, 50.0)], about=ABOUT)
    results.put("actions", [], about={}, calls=calls(12.0, 10.0))
    show(results)
    told = capsys.readouterr().out
    assert "the API could serve 300,000 records/s; the fastest reader took 3% of that" in told
    assert "50 actions at once" in told


def test_pages_over_http_are_held_against_the_raw_query(capsys: pytest.CaptureFixture[str]) -> None:
    results = Results(MACHINE, {})
    pages = {"http": [14.0, 15.0, 40.0], "raw": [10.0, 9.0, 12.0]}
    results.put("record-pages", [], about={"pages": pages})
    [target] = results.targets()
    assert (target["value"], target["at_most"], target["met"]) == (1.5, 1.5, True)
    show(results)
    assert "15.0" in capsys.readouterr().out
