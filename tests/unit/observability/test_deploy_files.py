"""The dashboard and the alerts ask for what there is."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

from perdure.observability import metrics
from perdure.observability.instruments import INSTRUMENTS, Timing
from tests.support.promql import ALERTS, DEPLOY, named, panels, queries

# Prometheus puts these there itself.
OF_PROMETHEUS = {"instance", "job", "le"}


def test_every_query_is_promql() -> None:
    assert len(queries()) > 40
    assert {each.query for each in named()} <= set(queries())


def test_queries_name_our_metrics_as_they_are_with_labels_they_have() -> None:
    known: dict[str, set[str]] = {}
    for each in INSTRUMENTS:
        parts = ("_bucket", "_count", "_sum") if isinstance(each, Timing) else ("",)
        known |= {f"{each.exposed}{part}": set(each.labels) for part in parts}
    ours = [each for each in named() if each.metric.startswith("perdure_")]

    assert len(ours) > 30
    assert {each.metric for each in ours} <= set(known)
    for each in ours:
        assert each.labels <= known[each.metric] | OF_PROMETHEUS, each.query


def test_every_metric_of_ours_is_looked_at_somewhere() -> None:
    looked_at = {each.metric.removesuffix("_bucket") for each in named()}
    looked_at = {name.removesuffix("_count").removesuffix("_sum") for name in looked_at}
    assert {each.exposed for each in INSTRUMENTS} <= looked_at


def test_panels_have_ids_of_their_own_and_do_not_lie_on_each_other() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_alert_says_what_it_means_and_how_grave_it_is() -> None:
    rules = [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} == set(rule["annotations"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_takes_the_files() -> None:
    for kind, name in (("rules", "alerts.yml"), ("config", "prometheus.yml")):
        subprocess.run(["promtool", "check", kind, DEPLOY / "prometheus" / name], check=True)


def test_a_record_that_lacks_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        metrics.RUNS.add(kind="sync")
    with pytest.raises(ValueError, match="has the labels"):
        metrics.API_REFUSALS.add(reason="key", connection="acme")
