"""The dashboard: servers answer its queries, not what stands in for them, and its picture is of it."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from edgesmith_runtime.metrics import METRICS
from tests.monitoring.test_rules import ROOT, promtool

PANELS: list[dict[str, Any]] = json.loads((ROOT / "charts/edgesmith/files/dashboard.json").read_text())["panels"]
PICTURE = ROOT / "docs/images/dashboard.svg"
ACROSS, DOWN = 60, 34
"""Pixels of the picture for each of the dashboard's columns and rows."""

QUERIES = {panel["title"]: target["expr"] for panel in PANELS for target in panel.get("targets", ())}
INSTEAD = {title: query for title, query in QUERIES.items() if " or " in query}
"""Those that have an answer in the place of one: it would hide a query that never has one."""
PLACE = 'namespace="plant", edgemodel="parts", node="{node}"'
SCRAPE = {
    "Stalled EdgeModels": {
        'edgesmith_edgemodel_condition{namespace="plant", edgemodel="parts", type="Stalled", status="True"}': 1,
        'edgesmith_edgemodel_condition{namespace="plant", edgemodel="more", type="Stalled", status="True"}': 1,
        'edgesmith_edgemodel_condition{namespace="plant", edgemodel="well", type="Ready", status="True"}': 1,
    },
    **{
        title: {
            f"{metric}{{{PLACE.format(node='far')}{more}}}": 3,
            f"{metric}{{{PLACE.format(node='new')}{more}}}": 0,
            f"{metric}_limit{{{PLACE.format(node='far')}{more}}}": 2,
            f"{metric}_limit{{{PLACE.format(node='new')}{more}}}": 0,
            f"edgesmith_drift_known{{{PLACE.format(node='far')}}}": 1,
            f"edgesmith_drift_known{{{PLACE.format(node='new')}}}": 1,
        }
        for title, metric, more in (
            ("The worst feature against its limit", "edgesmith_drift_psi", ', feature="x[0]"'),
            ("All features together against their limit", "edgesmith_drift_discrepancy", ""),
            ("The scores of answers against their limit", "edgesmith_drift_scores_discrepancy", ""),
        )
    },
}
"""What is scraped: one node is at one and a half of its limit, and one has none yet."""
DRIFT: dict[str, float] = {'{edgemodel="parts", node="far"}': 1.5, '{edgemodel="parts", node="new"}': 0}
ANSWERS: dict[str, dict[str, float]] = {
    "Stalled EdgeModels": {"{}": 2},
    **{title: DRIFT for title in SCRAPE if title != "Stalled EdgeModels"},
}


def asked(query: str, scrape: dict[str, int], answers: dict[str, float], folder: Path) -> str:
    """What promtool says where a query of series comes to something else; nothing where it does not."""
    query = re.sub(r"\$(namespace|edgemodel|node)\b", ".*", query)
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"{value}x10"} for name, value in scrape.items()],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": "5m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in answers.items()],
            }
        ],
    }
    (folder / "cases.yaml").write_text(json.dumps({"rule_files": [], "evaluation_interval": "1m", "tests": [case]}))
    done = promtool("test", "rules", str(folder / "cases.yaml"))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_query_with_another_in_its_place_has_a_case() -> None:
    assert set(SCRAPE) == set(INSTEAD)


@pytest.mark.parametrize("title", SCRAPE)
def test_what_servers_say_is_answered_and_what_stands_in_for_it_only_where_they_say_nothing(
    title: str, tmp_path: Path
) -> None:
    assert asked(INSTEAD[title], SCRAPE[title], ANSWERS[title], tmp_path) == ""
    first, _, _ = INSTEAD[title].partition(" or ")
    said = {labels: value for labels, value in ANSWERS[title].items() if value}
    assert asked(first, SCRAPE[title], said, tmp_path) == ""
    nothing = {name: value for name, value in SCRAPE[title].items() if "known" in name}
    assert asked(INSTEAD[title], nothing, dict.fromkeys(ANSWERS[title], 0), tmp_path) == ""


def test_what_the_cases_scrape_is_what_servers_say() -> None:
    labels = {metric.name: set(metric.labels) for metric in METRICS}
    for title, scrape in SCRAPE.items():
        for series in scrape if title != "Stalled EdgeModels" else ():
            name, _, rest = series.partition("{")
            assert set(re.findall(r"(\w+)=", rest)) - {"namespace", "edgemodel", "node"} == labels[name]


def test_the_picture_has_every_panel_in_its_place() -> None:
    """Where it fails: `hack/draw_dashboard.py` draws the picture from what a Prometheus answers."""
    drawn = re.findall(r'<g transform="(.*?)">\n(?:<rect.*?>\n)?<text.*?>(.*?)</text>', PICTURE.read_text())
    wanted = [(_at(panel["gridPos"]), panel["title"]) for panel in PANELS]
    assert [(place, unescape(title)) for place, title in drawn] == wanted


def _at(place: dict[str, int]) -> str:
    return f"translate({place['x'] * ACROSS + 4} {place['y'] * DOWN + 4})"
