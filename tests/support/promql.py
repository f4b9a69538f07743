"""The queries of `deploy/`: what they name, and by which labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import promql_parser
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "perdure.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"

_FILLED_IN = {"$__rate_interval": "5m", "$environment": ".*", "$integration": ".*"}


@dataclass(frozen=True)
class Named:
    """A metric that a query names, with the labels that it looks at."""

    metric: str
    labels: frozenset[str]
    query: str


def panels() -> list[dict]:
    return json.loads(DASHBOARD.read_text())["panels"]  # type: ignore[no-any-return]


def queries() -> list[str]:
    """Return every query of the dashboard and of the alerts, as Prometheus gets it."""
    shown = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    for variable, text in _FILLED_IN.items():
        shown = [query.replace(variable, text) for query in shown]
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return shown + [rule["expr"] for group in groups for rule in group["rules"]]


def named() -> Iterator[Named]:
    """Return what the queries name.

    Raises:
        ValueError: One of them is no PromQL.
    """
    for query in queries():
        yield from _named(promql_parser.parse(query), frozenset(), query)


def _named(expr: object, by: frozenset[str], query: str) -> Iterator[Named]:
    match expr:
        case promql_parser.AggregateExpr():
            labels = frozenset(expr.modifier.labels) if expr.modifier else frozenset()
            yield from _named(expr.expr, by | labels, query)
        case promql_parser.BinaryExpr():
            yield from _named(expr.lhs, by, query)
            yield from _named(expr.rhs, by, query)
        case promql_parser.Call():
            for argument in expr.args:
                yield from _named(argument, by, query)
        case promql_parser.ParenExpr() | promql_parser.SubqueryExpr() | promql_parser.UnaryExpr():
            yield from _named(expr.expr, by, query)
        case promql_parser.MatrixSelector():
            yield from _named(expr.vector_selector, by, query)
        case promql_parser.VectorSelector():
            looked_at = {matcher.name for matcher in expr.matchers.matchers}
            assert expr.name is not None, query
            yield Named(expr.name, by | looked_at, query)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            pass
        case _:
            raise AssertionError(f"{type(expr)} in {query}")
