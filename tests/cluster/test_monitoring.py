"""A real Prometheus, told what to scrape by the chart, answers every panel of the dashboard and every rule."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chart_rendering import render
from prometheus import Prometheus

from edgesmith_stage import surface
from edgesmith_stage.fleet import Fleet
from edgesmith_stage.install import NAMESPACE
from edgesmith_stage.load import Load
from edgesmith_stage.shell import ROOT
from edgesmith_stage.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.lent, pytest.mark.long]

FILES = ROOT / "charts/edgesmith/files"
NAME = "watched-parts"


@pytest.fixture
def prometheus(fleet: Fleet, tmp_path: Path) -> Iterator[Prometheus]:
    """Prometheus with the chart's ServiceMonitors, beside the release that is there."""
    made = render({"monitoring": {"serviceMonitor": {"enabled": True}}})
    metrics = next(one for one in made if one["metadata"]["name"] == "edgesmith-metrics")
    fleet.ground.kube.apply(metrics, namespace=NAMESPACE)
    monitors = [one for one in made if one["kind"] == "ServiceMonitor"]
    program = Prometheus(tmp_path, fleet.ground.kube.kubeconfig, monitors, FILES / "rules.yaml")
    try:
        yield program
    finally:
        program.stop()
        fleet.ground.kube("delete", "service", "edgesmith-metrics", "-n", NAMESPACE)


def test_every_panel_and_every_rule_is_answered(fleet: Fleet, prometheus: Prometheus, tmp_path: Path) -> None:
    fleet.apply(fleet.manifest(NAME, fleet.publish("1")))
    fleet.wait_settled(NAME, 300)
    nodes = sorted(fleet.servers(NAME))
    assert set(nodes) == set(surface.EDGES)

    with Load(fleet, NAME, nodes, tmp_path / "load"):
        for title, query in panels():
            what = f"series of the panel {title!r}, {query}"
            until(partial(prometheus.ask, query), seconds=60, what=what, detail=lambda: str(prometheus.targets()))
        ready = 'edgesmith_ready{edgemodel="watched-parts"}'
        until(lambda: len(prometheus.ask(ready)) == len(nodes), seconds=60, what="every server to be scraped")
        recorded = f"edgemodel:edgesmith_requests:rate5m{{namespace='{fleet.namespace}'}}"
        asked = until(partial(prometheus.ask, recorded), seconds=60, what="series of a recording rule")

    assert [one["metric"]["edgemodel"] for one in asked] == [NAME]
    assert prometheus.rules_that_fail() == {}
    # One scrape that takes longer than a second spoils all of it until the next.
    wrong = partial(_wrong, fleet, prometheus, nodes)
    until(lambda: not wrong(), seconds=60, what="all to be scraped and well", detail=lambda: str(wrong()))


def _wrong(fleet: Fleet, prometheus: Prometheus, nodes: list[str]) -> dict[str, str]:
    """What Prometheus says otherwise than the cluster does."""
    served = prometheus.ask('edgesmith_ready{edgemodel="watched-parts"}')
    revisions = {server.revision for server in fleet.servers(NAME).values()}
    counts = f'edgesmith_edgemodel_nodes{{namespace="{fleet.namespace}", edgemodel="{NAME}", state="ready"}}'
    counted = [one["value"][1] for one in prometheus.ask(counts)]
    alerts, targets = prometheus.alerts(), prometheus.targets()
    well = {
        f"served {served}": {one["metric"]["node"] for one in served} == set(nodes),
        f"revisions, not {revisions}": {one["metric"]["revision"] for one in served} == revisions,
        f"counted {counted}": counted == [str(len(nodes))],
        f"alerts {alerts}": "EdgesmithOperatorDown" not in alerts,
        f"targets {targets}": all(set(health) == {"up"} for health in targets.values()),
    }
    return {what: "wrong" for what, good in well.items() if not good}


def panels() -> list[tuple[str, str]]:
    """Every query of the dashboard with its panel's title, for everything there is."""
    found: list[tuple[str, str]] = []
    panel: dict[str, Any]
    for panel in json.loads((FILES / "dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            query = re.sub(r"\$(namespace|edgemodel|node)\b", ".*", target["expr"])
            found.append((panel["title"], query.replace("$__rate_interval", "1m")))
    return found
