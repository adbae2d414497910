"""Monitors, alerts and the dashboard: off by default, and made of metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from chart.helm import CHART, REPOSITORY, REQUIRED, Helm, Json
from reference.pages import exported

from kafleet.metrics import Metrics
from kafleet_operator.metrics import REGISTRY
from kafleet_operator.planning import names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text()
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum")}


def monitored(**metrics: Any) -> Json:  # noqa: ANN401 - any values under `metrics`
    return REQUIRED | {"metrics": {name: {"enabled": True, **values} for name, values in metrics.items()}}


def promtool(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = subprocess.run([REPOSITORY / "local" / "promtool"], stdout=subprocess.PIPE, text=True, check=True)
    return subprocess.run(
        [path.stdout.strip(), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def panels() -> Iterator[tuple[str, str]]:
    """Yield each query of the dashboard with its panel's title."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def series() -> set[str]:
    """Return the name of every series that the operator or an agent can export."""
    metrics = [*exported(REGISTRY), *exported(Metrics().registry)]
    own = {each.name + suffix for each in metrics for suffix in SUFFIXES.get(each.type, ("",))}
    return own | {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def test_nothing_is_made_unless_asked_for(helm: Helm) -> None:
    """Without the Prometheus Operator, its kinds would fail the installation."""
    rendered = helm.template(REQUIRED)

    assert {item["kind"] for item in rendered.objects} & {"PodMonitor", "PrometheusRule"} == set()
    assert rendered.of("ConfigMap") == []


def test_operator_is_scraped_on_its_port_with_its_fleets_own_namespaces(helm: Helm) -> None:
    rendered = helm.template(monitored(podMonitor={"interval": "15s", "labels": {"release": "prometheus"}}))
    monitor, _ = rendered.of("PodMonitor")
    pod = rendered.one("Deployment")["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]

    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert endpoint == {"port": "http", "honorLabels": True, "interval": "15s"}
    assert endpoint["port"] in {port["name"] for port in container["ports"]}


@pytest.mark.parametrize(
    ("namespaces", "selector"), [([], {"any": True}), (["support"], {"matchNames": ["support"]})]
)
def test_agents_are_scraped_where_they_may_run(helm: Helm, namespaces: list[str], selector: Json) -> None:
    """Whose agents they are comes from the labels that the operator puts on each pod."""
    _, monitor = helm.template(monitored(podMonitor={}) | {"watch": {"namespaces": namespaces}}).of(
        "PodMonitor"
    )
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    taken = {rule["targetLabel"]: rule["sourceLabels"] for rule in endpoint["relabelings"]}

    assert monitor["spec"]["namespaceSelector"] == selector
    assert monitor["spec"]["selector"]["matchExpressions"] == [{"key": names.LANE, "operator": "Exists"}]
    assert taken == {
        label: [f"__meta_kubernetes_pod_label_{re.sub('[^a-z]', '_', key)}"]
        for label, key in {"kind": names.KIND, "resource": names.RESOURCE, "lane": names.LANE}.items()
    }


def test_rules_are_the_file_with_the_release_in_it(helm: Helm, tmp_path: Path) -> None:
    where = "https://docs.test/kafleet/operations"
    rule = helm.template(monitored(prometheusRule={"runbookUrl": where})).one("PrometheusRule")
    rendered = tmp_path / "rules.yaml"
    rendered.write_text(yaml.safe_dump(rule["spec"]))
    done = promtool("check", "rules", rendered.name, folder=tmp_path)

    assert done.returncode == 0, done.stderr
    runbooks = [each["annotations"]["runbook_url"] for each in rule["spec"]["groups"][0]["rules"]]
    assert runbooks == [f"{where}#{each['alert'].lower()}" for each in RULES]
    other = helm.run(
        "template", "x", str(CHART), "--namespace=elsewhere", values=monitored(prometheusRule={})
    )
    assert 'namespace="elsewhere"' in other.stdout
    assert 'namespace="kafleet-system"' not in other.stdout


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """Evaluated by Prometheus' own engine, in the situations of alerts.test.yaml."""
    for path in (ALERTS, REPOSITORY / "tests" / "chart" / "alerts.test.yaml"):
        shutil.copy(path, tmp_path)
    done = promtool("test", "rules", "alerts.test.yaml", folder=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_alert_says_what_it_means_and_what_to_do(rule: Json) -> None:
    situations = (REPOSITORY / "tests" / "chart" / "alerts.test.yaml").read_text()

    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert f"\n### {rule['alert']}\n" in OPERATIONS
    assert rule["alert"] in situations


def test_dashboard_is_found_by_the_sidecar(helm: Helm) -> None:
    made = helm.template(monitored(dashboard={"annotations": {"grafana_folder": "Agents"}})).one("ConfigMap")

    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert made["metadata"]["annotations"] == {"grafana_folder": "Agents"}
    assert json.loads(made["data"]["kafleet.json"]) == DASHBOARD


def test_dashboard_asks_in_promql(tmp_path: Path) -> None:
    """Prometheus' own parser takes every query, with its variables filled in."""
    rules = [
        {"record": f"panel:{number}", "expr": re.sub(r"\$__rate_interval", "5m", query)}
        for number, (_, query) in enumerate(panels())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", file.name, folder=tmp_path)

    assert len(rules) > 20
    assert done.returncode == 0, done.stderr


def test_panels_are_told_apart_and_do_not_overlap() -> None:
    seen: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & seen, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        seen |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel.get("description") for panel in DASHBOARD["panels"] if panel["type"] != "row")


@pytest.mark.parametrize(("place", "query"), [*((rule["alert"], rule["expr"]) for rule in RULES), *panels()])
def test_every_metric_that_is_asked_for_is_exported(place: str, query: str) -> None:
    asked = set(re.findall(r"\b(?:kafleet|process)_\w+", query))

    assert asked, place
    assert asked <= series(), place
