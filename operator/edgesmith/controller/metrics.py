"""The operator's metrics, in one table that the documentation is held to. Prometheus text format 0.0.4.

Written out here because it is sixty lines: a client library would bring a registry of its own, threads and process
collectors for a dozen numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    """Names of its labels. A counter has one at most."""


Family = Mapping[tuple[str, ...], float]
"""A gauge's values by those of its labels."""


PASSES = Metric("edgesmith_passes_total", "counter", "Passes, by how they ended.", ("result",))
PASS_SECONDS = Metric("edgesmith_pass_seconds", "histogram", "Seconds that a pass took.")
QUEUE_DEPTH = Metric("edgesmith_queue_depth", "gauge", "EdgeModels that are due and wait for a worker.")
QUEUE_LONGEST = Metric(
    "edgesmith_queue_longest_seconds",
    "gauge",
    "Seconds for which the EdgeModel that waits longest is due or worked on.",
)
EDGE_MODELS = Metric("edgesmith_edgemodels", "gauge", "EdgeModels in the cluster.")
NODES = Metric("edgesmith_nodes", "gauge", "Nodes in the cluster.")
BUILDS = Metric("edgesmith_builds_started_total", "counter", "Build Jobs made.")
LOOKS = Metric("edgesmith_source_looks_started_total", "counter", "Resolve Jobs made: looks at files without a digest.")
TRIALS = Metric("edgesmith_trials_started_total", "counter", "Trial pods made.")
MOVES = Metric("edgesmith_node_moves_total", "counter", "Node labels set or removed.")
WRITES = Metric("edgesmith_status_writes_total", "counter", "Statuses written.")
SWEPT = Metric("edgesmith_labels_swept_total", "counter", "Node labels of deleted EdgeModels removed.")
WATCH_AGE = Metric("edgesmith_watch_age_seconds", "gauge", "Seconds since our own Lease was last seen by the watch.")
LEASE_HELD = Metric("edgesmith_lease_held", "gauge", "1 where this operator holds the Lease, else 0.")
STALE = Metric("edgesmith_stale_objects_total", "counter", "Objects whose deletion no watch reported.")
RESTORES = Metric(
    "edgesmith_etcd_restores_total",
    "counter",
    "Times that everything was listed anew because resourceVersions went down.",
)
UNREADABLE = Metric("edgesmith_unreadable_objects", "gauge", "EdgeModels and DeviceProfiles that cannot be read.")
MODEL_NODES = Metric(
    "edgesmith_edgemodel_nodes",
    "gauge",
    "Nodes of an EdgeModel, by state: the counts of its status.nodes.",
    ("namespace", "edgemodel", "state"),
)
MODEL_CONDITION = Metric(
    "edgesmith_edgemodel_condition",
    "gauge",
    "The conditions of an EdgeModel as they stand; always 1.",
    ("namespace", "edgemodel", "type", "status", "reason"),
)
MODEL_VARIANT = Metric(
    "edgesmith_edgemodel_variant_info",
    "gauge",
    "What of an EdgeModel is rolled out to the nodes of a profile; always 1.",
    ("namespace", "edgemodel", "profile", "state", "revision", "precision"),
)

METRICS = (
    PASSES,
    PASS_SECONDS,
    QUEUE_DEPTH,
    QUEUE_LONGEST,
    EDGE_MODELS,
    NODES,
    BUILDS,
    LOOKS,
    TRIALS,
    MOVES,
    WRITES,
    SWEPT,
    WATCH_AGE,
    LEASE_HELD,
    STALE,
    RESTORES,
    UNREADABLE,
    MODEL_NODES,
    MODEL_CONDITION,
    MODEL_VARIANT,
)
"""Every metric there is."""

RESULTS = ("changed", "unchanged", "gone", "waiting", "stalled", "failed")
"""Values of the label `result`."""


BOUNDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
"""Seconds: the upper bounds of a histogram's buckets, below the last one without a bound."""


class Numbers:
    """The numbers of this process."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str], float] = {(PASSES.name, result): 0.0 for result in RESULTS}
        self._gauges: dict[str, Callable[[], float]] = {}
        self._families: dict[str, Callable[[], Family]] = {}
        self._buckets = {metric.name: [0] * (len(BOUNDS) + 1) for metric in METRICS if metric.type == "histogram"}

    def count(self, metric: Metric, amount: float = 1.0, label: str = "") -> None:
        """Add to a counter."""
        key = (metric.name, label)
        self._counters[key] = self._counters.get(key, 0.0) + amount

    def observe(self, metric: Metric, seconds: float) -> None:
        """Add one value to a histogram."""
        self._buckets[metric.name][bisect_left(BOUNDS, seconds)] += 1
        self.count(metric, seconds)

    def gauges(self, readers: Mapping[Metric, Callable[[], float]]) -> None:
        """Say where gauges are read."""
        self._gauges |= {metric.name: reader for metric, reader in readers.items()}

    def families(self, readers: Mapping[Metric, Callable[[], Family]]) -> None:
        """Say where gauges with labels are read."""
        self._families |= {metric.name: reader for metric, reader in readers.items()}

    def render(self) -> str:
        """All of them, in the text format."""
        lines = []
        for metric in METRICS:
            lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.type}"]
            if metric.type == "gauge" and metric.labels:
                values = reading() if (reading := self._families.get(metric.name)) else {}
                lines += [
                    f"{metric.name}{_labels(metric, key)} {_text(value)}" for key, value in sorted(values.items())
                ]
            elif metric.type == "gauge":
                reader = self._gauges.get(metric.name)
                lines.append(f"{metric.name} {_text(reader() if reader else 0.0)}")
            elif metric.type == "histogram":
                lines += self._histogram(metric.name)
            elif metric.labels:
                found = sorted((label, value) for (name, label), value in self._counters.items() if name == metric.name)
                lines += [f"{metric.name}{_labels(metric, (label,))} {_text(value)}" for label, value in found]
            else:
                lines.append(f"{metric.name} {_text(self._counters.get((metric.name, ''), 0.0))}")
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str) -> list[str]:
        """Each bucket counts what is in those before it, too."""
        counts = list(accumulate(self._buckets[name]))
        bounds = [*map(str, BOUNDS), "+Inf"]
        lines = [f'{name}_bucket{{le="{bound}"}} {count}' for bound, count in zip(bounds, counts, strict=True)]
        return [*lines, f"{name}_sum {_text(self._counters.get((name, ''), 0.0))}", f"{name}_count {counts[-1]}"]


def _labels(metric: Metric, values: tuple[str, ...]) -> str:
    """Labels as they stand behind a metric's name. No value of ours holds a character that the format escapes."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in zip(metric.labels, values, strict=True)) + "}"


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.6f}"
