"""What the chart hands to the Prometheus Operator is read by that operator's own types; what Grafana gets fits."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chart_rendering import REQUIRED, merge, template
from services import tool
from yaml_files import documents, read

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.controller.metrics import METRICS as OPERATOR_METRICS
from edgesmith.resources.service import service
from edgesmith_runtime.metrics import METRICS as RUNTIME_METRICS

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "charts/edgesmith/files/dashboard.json"
ALL = {
    "monitoring": {
        "serviceMonitor": {"enabled": True, "interval": "10s", "labels": {"release": "prometheus"}},
        "rules": {"enabled": True, "labels": {"release": "rules"}},
        "dashboard": {"enabled": True},
    }
}
MODEL = EdgeModel.model_validate(
    {
        "metadata": {"name": "parts", "namespace": "plant", "uid": "u"},
        "spec": {
            "source": {"uri": "s3://models/model.onnx", "sha256": "a" * 64},
            "deviceProfiles": {"names": ["amd64"]},
        },
    }
)

Object = dict[str, Any]


def objects(values: Object) -> dict[tuple[str, str], Object]:
    """What the chart makes, by kind and name."""
    done = template(merge(REQUIRED, values))
    assert done.returncode == 0, done.stderr
    return {(one["kind"], one["metadata"]["name"]): one for one in documents(done.stdout)}


def verdict(*found: Object) -> subprocess.CompletedProcess[str]:
    """What the Prometheus Operator's types make of objects."""
    lines = "\n".join(map(json.dumps, found))
    return subprocess.run(
        [str(tool("monitoring-verdict"))], input=lines, capture_output=True, text=True, timeout=60, check=False
    )


def test_nothing_of_it_is_there_by_default() -> None:
    kinds = {kind for kind, _ in objects({})}
    assert kinds.isdisjoint({"ServiceMonitor", "PrometheusRule"})
    assert ("ConfigMap", "edgesmith-dashboard") not in objects({})
    assert ("Service", "edgesmith-metrics") not in objects({})


def test_the_prometheus_operator_knows_every_field() -> None:
    found = [one for (kind, _), one in objects(ALL).items() if kind in {"ServiceMonitor", "PrometheusRule"}]
    assert len(found) == 3
    done = verdict(*found)
    assert done.returncode == 0, done.stderr
    monitor = next(one for one in found if one["kind"] == "ServiceMonitor")
    monitor["spec"]["endpoints"][0]["intervall"] = "10s"
    assert 'unknown field "intervall"' in verdict(*found).stderr


def test_labels_and_interval_are_those_of_the_values() -> None:
    found = objects(ALL)
    for name in ("edgesmith-operator", "edgesmith-servers"):
        monitor = found["ServiceMonitor", name]
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        assert [one["interval"] for one in monitor["spec"]["endpoints"]] == ["10s"]
    assert found["PrometheusRule", "edgesmith"]["metadata"]["labels"]["release"] == "rules"
    assert found["ConfigMap", "edgesmith-dashboard"]["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_monitor_of_the_operator_selects_its_service_and_that_its_pods() -> None:
    found = objects(ALL)
    metrics = found["Service", "edgesmith-metrics"]
    wanted = found["ServiceMonitor", "edgesmith-operator"]["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= metrics["metadata"]["labels"].items()
    pod = found["Deployment", "edgesmith"]["spec"]["template"]
    assert metrics["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
    assert {port["targetPort"] for port in metrics["spec"]["ports"]} <= ports


def test_the_monitor_of_the_servers_selects_the_service_of_an_edgemodel() -> None:
    spec = objects(ALL)["ServiceMonitor", "edgesmith-servers"]["spec"]
    made = service(MODEL)
    assert spec["selector"]["matchLabels"].items() <= made["metadata"]["labels"].items()
    assert {one["key"] for one in spec["selector"]["matchExpressions"]} <= set(made["metadata"]["labels"])
    assert {one["port"] for one in spec["endpoints"]} <= {port["name"] for port in made["spec"]["ports"]}
    assert spec["namespaceSelector"] == {"any": True}


def test_an_operator_of_some_namespaces_has_a_monitor_of_those() -> None:
    spec = objects(merge(ALL, {"watchNamespaces": ["plant-7"]}))["ServiceMonitor", "edgesmith-servers"]["spec"]
    assert spec["namespaceSelector"] == {"matchNames": ["edgesmith-system", "plant-7"]}


def test_the_rule_is_the_file_that_promtool_ran() -> None:
    rule = objects(ALL)["PrometheusRule", "edgesmith"]
    assert rule["spec"] == read(ROOT / "charts/edgesmith/files/rules.yaml")


def test_the_dashboard_is_generated_and_in_the_config_map() -> None:
    check = [sys.executable, str(ROOT / "hack/generate_dashboard.py"), "--check"]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    held = objects(ALL)["ConfigMap", "edgesmith-dashboard"]["data"]["edgesmith.json"]
    assert json.loads(held) == json.loads(DASHBOARD.read_text())


KNOWN = {metric.name for metric in (*OPERATOR_METRICS, *RUNTIME_METRICS)}
KNOWN |= {f"{name}_{part}" for name in KNOWN for part in ("bucket", "sum", "count")}


@pytest.mark.parametrize("file", ["dashboard.json", "rules.yaml"])
def test_no_query_asks_for_a_metric_that_nobody_has(file: str) -> None:
    text = re.sub(r"\w+:edgesmith\w+:\w+", "", (ROOT / "charts/edgesmith/files" / file).read_text())
    asked = set(re.findall(r"\b(?:edgesmith|process)_\w+", text))
    assert asked
    assert asked - {"edgesmith_edgemodel"} <= KNOWN


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
