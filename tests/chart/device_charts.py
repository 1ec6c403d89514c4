"""The chart of vendors' device plugins with charts that stand in for theirs, which cannot be had here.

A stand-in has its vendor's name and version, and prints the values that it is given.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from chart_rendering import ROOT, Object, load

CHART = ROOT / "charts/edgesmith-devices"
DEPENDENCIES: dict[str, Object] = {one["alias"]: one for one in load(CHART / "Chart.yaml")["dependencies"]}
"""What Chart.yaml says of each, by its key."""

GPU = {"matchExpressions": [{"key": "nvidia.com/gpu.present", "operator": "Exists"}]}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"

OWN: dict[str, Object] = {
    "nvidia": {
        "affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [GPU]}}},
        "priorityClassName": "system-node-critical",
    },
    "intel-gpu": {"name": "gpudeviceplugin-sample", "nodeSelector": {"intel.feature.node.kubernetes.io/gpu": "true"}},
}
"""What the stand-ins have of the vendors' own values."""

PRINTS = """apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Chart.Name }}
data:
  values: {{ omit .Values "global" | toJson | quote }}
"""


def copied(folder: Path) -> Path:
    """Our chart in a folder, without what was fetched."""
    chart = folder / CHART.name
    shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
    return chart


def stand_in(alias: str, folder: Path) -> Path:
    """A vendor's chart in a folder."""
    chart = folder / str(DEPENDENCIES[alias]["name"])
    (chart / "templates").mkdir(parents=True)
    named = {"apiVersion": "v2", "name": chart.name, "version": DEPENDENCIES[alias]["version"]}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(named))
    (chart / "values.yaml").write_text(yaml.safe_dump(OWN.get(alias, {})))
    (chart / "templates/prints.yaml").write_text(PRINTS)
    return chart
