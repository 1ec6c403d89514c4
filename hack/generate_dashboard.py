"""Writes the chart's Grafana dashboard from the panels below. Usage: python hack/generate_dashboard.py [--check]."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).resolve().parents[1] / "charts/edgesmith/files/dashboard.json"
MODELS: Final = 'namespace=~"$namespace", edgemodel=~"$edgemodel"'
SERVERS: Final = f'{MODELS}, node=~"$node"'
ON_EACH: Final = "edgemodel, node"
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS: Final = 24
"""What Grafana divides a page's width into."""


@dataclass(frozen=True)
class Panel:
    """One panel: its queries, each with the legend of its series, in Grafana's words for its kind and unit."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 7
    description: str = ""


def _stat(title: str, query: str) -> Panel:
    return Panel(title, ((query, ""),), kind="stat", width=6, height=4)


def _rate(metric: str, by: str, only: str = SERVERS, function: str = "rate") -> str:
    """The sum of a counter's rates by some labels."""
    return f"sum by ({by}) ({function}({metric}{{{only}}}[$__rate_interval]))"


def _quantile(quantile: float, metric: str, by: str, only: str = SERVERS) -> str:
    """A quantile of a histogram by some labels."""
    return f"histogram_quantile({quantile}, {_rate(f'{metric}_bucket', f'{by}le', only)})"


def _against_limit(metric: str) -> str:
    """How much of what it may be a figure of drift is, on each node; 0 as long as there is no limit."""
    share = f"{metric}{{{SERVERS}}} / ({metric}_limit{{{SERVERS}}} > 0)"
    return f"max by ({ON_EACH}) ({share}) or 0 * max by ({ON_EACH}) (edgesmith_drift_known{{{SERVERS}}})"


def _on_each(query: str) -> tuple[tuple[str, str], ...]:
    """A query whose series are an EdgeModel on a node each."""
    return ((query, "{{edgemodel}} {{node}}"),)


INFER: Final = f'{SERVERS}, operation="infer"'
RUN: Final = "edgesmith_inference_duration_seconds"

ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Fleet": (
        _stat("EdgeModels", "sum(edgesmith_edgemodels)"),
        _stat("Nodes that serve", f'sum(edgesmith_edgemodel_nodes{{{MODELS}, state="ready"}})'),
        _stat("Nodes that are away", f'sum(edgesmith_edgemodel_nodes{{{MODELS}, state="not_ready"}})'),
        _stat(
            "Stalled EdgeModels",
            f'count(edgesmith_edgemodel_condition{{{MODELS}, type="Stalled", status="True"}}) or vector(0)',
        ),
        Panel("Nodes by state", ((f"sum by (state) (edgesmith_edgemodel_nodes{{{MODELS}}})", "{{state}}"),)),
        Panel("What is rolled out", ((f"edgesmith_edgemodel_variant_info{{{MODELS}}}", ""),), kind="table"),
        Panel("Conditions", ((f"edgesmith_edgemodel_condition{{{MODELS}}}", ""),), kind="table"),
    ),
    "Requests": (
        Panel(
            "Requests",
            ((_rate("edgesmith_requests_total", "namespace, edgemodel", INFER), "{{namespace}}/{{edgemodel}}"),),
            "reqps",
        ),
        Panel(
            "Requests by code",
            ((_rate("edgesmith_requests_total", "protocol, code", INFER), "{{protocol}} {{code}}"),),
            "reqps",
        ),
        Panel(
            "Time to the answer, median and 95th percentile",
            tuple(
                (
                    _quantile(quantile, "edgesmith_request_duration_seconds", "edgemodel, "),
                    f"{{{{edgemodel}}}} p{100 * quantile:.0f}",
                )
                for quantile in (0.5, 0.95)
            ),
            "s",
        ),
        Panel(
            "Time of one run",
            _on_each(f"{_rate(f'{RUN}_sum', ON_EACH)} / {_rate(f'{RUN}_count', ON_EACH)}"),
            "s",
        ),
        Panel("Waiting or running", _on_each(f"sum by ({ON_EACH}) (edgesmith_requests_in_flight{{{SERVERS}}})")),
        Panel(
            "Refused because too many waited",
            _on_each(_rate("edgesmith_queue_refusals_total", ON_EACH)),
            "reqps",
        ),
    ),
    "Answers": (
        Panel("Runs by outcome", ((_rate("edgesmith_runs_total", "outcome"), "{{outcome}}"),), "ops"),
        Panel(
            "Golden samples asked for again",
            ((_rate("edgesmith_golden_replays_total", "result", function="increase"), "{{result}}"),),
        ),
        Panel(
            "Evidence against a gate",
            ((f"max by (edgemodel, gate) (edgesmith_gate_evidence{{{SERVERS}}})", "{{edgemodel}} {{gate}}"),),
            description="At 1 the server ends.",
        ),
    ),
    "Drift": (
        Panel(
            "Nodes that have drifted",
            ((f"sum by (namespace, edgemodel) (edgesmith_drifted{{{SERVERS}}})", "{{namespace}}/{{edgemodel}}"),),
        ),
        Panel(
            "The worst feature against its limit",
            _on_each(_against_limit("edgesmith_drift_psi")),
            description="Above 1 the node has drifted; 0 as long as too little is known.",
        ),
        Panel(
            "All features together against their limit",
            _on_each(_against_limit("edgesmith_drift_discrepancy")),
            description="Above 1 the node has drifted; 0 as long as too little is known.",
        ),
        Panel(
            "The scores of answers against their limit",
            _on_each(_against_limit("edgesmith_drift_scores_discrepancy")),
            description="Above 1 the node has drifted; 0 as long as too little is known.",
        ),
    ),
    "Samples": (
        Panel("Chosen samples by outcome", ((_rate("edgesmith_samples_total", "outcome"), "{{outcome}}"),), "ops"),
        Panel(
            "Waiting on the nodes' disks",
            _on_each(f"sum by ({ON_EACH}) (edgesmith_spool_bytes{{{SERVERS}}})"),
            "bytes",
        ),
        Panel("Sent to the bucket", _on_each(_rate("edgesmith_uplink_bytes_total", ON_EACH)), "Bps"),
    ),
    "Devices": (
        Panel("Ready", _on_each(f"min by ({ON_EACH}) (edgesmith_ready{{{SERVERS}}})")),
        Panel(
            "Memory of the servers",
            _on_each(f"sum by ({ON_EACH}) (process_resident_memory_bytes{{{SERVERS}}})"),
            "bytes",
        ),
        Panel("Processor cores of the servers", _on_each(_rate("process_cpu_seconds_total", ON_EACH))),
    ),
    "Operator": (
        Panel("Passes by result", ((_rate("edgesmith_passes_total", "result", ""), "{{result}}"),), "ops"),
        Panel("Time of a pass, 95th percentile", ((_quantile(0.95, "edgesmith_pass_seconds", "", ""), "p95"),), "s"),
        Panel(
            "EdgeModels that wait, and the longest wait",
            (("max(edgesmith_queue_depth)", "waiting"), ("max(edgesmith_queue_longest_seconds)", "seconds")),
        ),
        Panel(
            "Nodes moved, statuses written, builds",
            (
                (_rate("edgesmith_node_moves_total", "", ""), "nodes"),
                (_rate("edgesmith_status_writes_total", "", ""), "statuses"),
                (_rate("edgesmith_builds_started_total", "", ""), "builds"),
            ),
            "ops",
        ),
    ),
}
"""The page, row by row."""


def dashboard() -> dict[str, Any]:
    """The dashboard in Grafana's form."""
    panels: list[dict[str, Any]] = []
    bottom = 0
    for title, row in ROWS.items():
        panels.append(_placed({"type": "row", "title": title, "collapsed": False, "panels": []}, 0, bottom, COLUMNS, 1))
        left, top, bottom = 0, bottom + 1, bottom + 1
        for panel in row:
            if left + panel.width > COLUMNS:
                left, top = 0, bottom
            panels.append(_placed(_drawn(panel), left, top, panel.width, panel.height))
            left, bottom = left + panel.width, max(bottom, top + panel.height)
    for number, one in enumerate(panels, 1):
        one["id"] = number
    return {
        "uid": "edgesmith",
        "title": "Edgesmith",
        "tags": ["edgesmith"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": panels,
    }


def _drawn(panel: Panel) -> dict[str, Any]:
    table = panel.kind == "table"
    targets = [
        {"refId": chr(ord("A") + number), "expr": query, "legendFormat": legend, "datasource": SOURCE}
        | ({"format": "table", "instant": True} if table else {})
        for number, (query, legend) in enumerate(panel.queries)
    ]
    defaults: dict[str, Any] = {"unit": panel.unit} | ({} if table else {"min": 0})
    found = {
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": targets,
    }
    if panel.description:
        found["description"] = panel.description
    if table:
        hidden = dict.fromkeys(("Time", "Value", "__name__", "job", "instance", "endpoint", "service", "pod"), True)
        found["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    return found


def _placed(panel: dict[str, Any], x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return panel | {"gridPos": {"x": x, "y": y, "w": width, "h": height}}


def _variables() -> list[dict[str, Any]]:
    asked = {
        "namespace": "label_values(edgesmith_edgemodel_nodes, namespace)",
        "edgemodel": 'label_values(edgesmith_edgemodel_nodes{namespace=~"$namespace"}, edgemodel)',
        "node": f"label_values(edgesmith_ready{{{MODELS}}}, node)",
    }
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    several = {"type": "query", "datasource": SOURCE, "refresh": 2, "includeAll": True, "multi": True, "allValue": ".*"}
    return [source, *({"name": name, "query": query, **several} for name, query in asked.items())]


def main(arguments: list[str]) -> int:
    """Write the file, or with `--check` say whether it is as it would be written."""
    text = json.dumps(dashboard(), indent=1) + "\n"
    if "--check" not in arguments:
        FILE.write_text(text)
        return 0
    if FILE.read_text() == text:
        return 0
    print(f"{FILE.name} is not as the panels are: run make generate", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
