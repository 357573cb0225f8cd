"""Alert rules and dashboard name what ``/metrics`` really shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from exports.masking import Role
from tests.api_platform import Platform, published_platform
from tests.api_shapes import serving
from tests.deployment import Deployment, own_redis

DEPLOY = Path(__file__).parent.parent / "deploy"
RULES = DEPLOY / "prometheus" / "boxoffice.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "boxoffice.json"
FUNCTIONS = {
    "absent",
    "delta",
    "histogram_quantile",
    "increase",
    "max",
    "max_over_time",
    "min",
    "rate",
    "sum",
    "topk",
}
TOKEN = re.compile(
    r"""\s+ | "[^"]*" | \[(?:\d+[smhd]|\$__rate_interval)\] | \d+(?:\.\d+)?(?:e\d+)?
    | [a-zA-Z_:][\w:]* | ==|!=|>=|<=|=~|!~|[-+*/<>=(){},]""",
    re.VERBOSE,
)
SELECTOR = re.compile(r"\b(boxoffice_\w+)(?:\{([^}]*)\})?")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.fixture(scope="module")
def scrape(
    make_deployment: Callable[..., Deployment], role_url: Callable[[str, str], str]
) -> dict[str, list[dict[str, str]]]:
    """Labels of every sample of a real scrape, by the sample's name."""
    platform: Platform = published_platform(make_deployment, role_url)
    limits = {"read": 3, "heavy": 60, "export": 20, "sql": 30}
    own = SecretStr(own_redis(platform.settings))
    settings = platform.settings.model_copy(update={"api_rate_limits": limits, "redis_url": own})
    with serving(settings) as api:
        viewer = api.client.as_(Role.VIEWER, account="scraped@example.org")
        job = api.call("POST", "/api/v1/admin/reports/export", json={"type": "orders"})
        assert job.status_code == 202, job.text
        for _ in range(5):
            api.call("GET", "/api/v1/definitions")
        assert api.call("GET", "/api/v1/definitions").status_code == 429
        assert api.call("GET", "/api/v1/definitions", headers={}).status_code == 401
        assert api.call("GET", "/api/v1/admin/cache/stats", headers=viewer).status_code == 403
        text = api.call("GET", "/metrics", headers={}).text
    samples: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        if family.type == "gauge":  # it may have nothing to say yet
            samples.setdefault(family.name, [])
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample.labels)
    return samples


def test_every_expression_names_metrics_and_labels_that_are_there(
    scrape: dict[str, list[dict[str, str]]],
) -> None:
    for where, expression in expressions():
        named = SELECTOR.findall(expression)
        assert named, where
        labels: set[str] = set()
        for name, matchers in named:
            assert name in scrape, f"{where}: {name}"
            of_metric = set().union(*scrape[name]) | {"instance"}
            labels |= of_metric
            for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
                assert label in of_metric, f"{where}: {name} has no label {label}"
                values = {sample.get(label, "") for sample in scrape[name]}
                if operator == "=" and label in ("by", "dataset", "fact", "pool"):
                    assert value in values, f"{where}: {label}={value}"
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            assert {name.strip() for name in grouped.split(",")} <= labels, where


def test_the_expressions_are_well_formed() -> None:
    for where, expression in expressions():
        assert re.fullmatch(f"(?:{TOKEN.pattern})+", expression, re.VERBOSE), where
        bare = re.sub(r'"[^"]*"', "", expression)
        for opening, closing in ("()", "{}", "[]"):
            assert bare.count(opening) == bare.count(closing), where
        assert set(re.findall(r"\b([a-z_]+)\(", bare)) <= FUNCTIONS, where
        for called in re.findall(r"\b(?:rate|increase|delta|max_over_time)\(([^()]*)\)", bare):
            assert called.endswith("]"), f"{where}: a range is missing"
        for counted in re.findall(r"(?<![\w(])(boxoffice_\w+_total)\b(?!\S*\[)", bare):
            raise AssertionError(f"{where}: {counted} without a rate")


def test_alerts_say_what_and_why() -> None:
    found = rules()
    names = [rule["alert"] for rule in found]
    assert len(set(names)) == len(names)
    for rule in found:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}
        said = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        grouped = {
            name.strip()
            for names in re.findall(r"\bby \(([^)]*)\)", rule["expr"])
            for name in names.split(",")
        }
        assert said <= grouped, rule["alert"]


def test_every_metric_of_the_scrape_is_on_the_dashboard(
    scrape: dict[str, list[dict[str, str]]],
) -> None:
    shown = {name for _, text in expressions() for name, _ in SELECTOR.findall(text)}
    shown_families = {re.sub(r"_(bucket|total)$", "", name) for name in shown}
    families = {re.sub(r"_(bucket|total|count|sum|created)$", "", name) for name in scrape}
    assert families == shown_families


def test_panels_do_not_overlap_and_ask_the_chosen_prometheus() -> None:
    found = json.loads(DASHBOARD.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}
    assert [each["name"] for each in found["templating"]["list"]] == ["datasource"]
