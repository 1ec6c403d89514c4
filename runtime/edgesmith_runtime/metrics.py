"""What the server counts, and Prometheus' text form of it.

`METRICS` declares every metric once; the documentation is held against it by a test.
https://prometheus.io/docs/instrumenting/exposition_formats/ describes the form.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.device import resident_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["METRICS", "Metric", "Metrics"]

_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """The declaration of one metric.

    Attributes:
        name: Its name, unit included.
        kind: ``counter``, ``gauge`` or ``histogram``.
        help: What it says, in one sentence.
        labels: The names of its labels.
        buckets: A histogram's upper bounds, the infinite one left out.
        values: Those of its one label that are there from the start: a counter that appears with its first count has
            no rate, see https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics.
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    values: tuple[str, ...] = ()


METRICS: Final = (
    Metric(
        "edgesmith_requests_total",
        "counter",
        "Requests answered, by protocol, operation (infer, image, metadata, health, metrics, page, other) and status "
        "code; 499 and CANCELLED: the client was seen to leave before its answer.",
        ("protocol", "operation", "code"),
    ),
    Metric(
        "edgesmith_request_duration_seconds",
        "histogram",
        "Time from the whole inference request received to its answer ready to send.",
        ("protocol",),
        _SECONDS,
        values=("http", "grpc"),
    ),
    Metric(
        "edgesmith_inference_duration_seconds",
        "histogram",
        "Time that the engine took for one run of the model.",
        (),
        _SECONDS,
    ),
    Metric("edgesmith_requests_in_flight", "gauge", "Inference requests waiting or running now."),
    Metric("edgesmith_queue_refusals_total", "counter", "Inference requests refused because too many waited."),
    Metric("edgesmith_ready", "gauge", "Whether the model is loaded, checked and served (1) or not (0)."),
    Metric(
        "edgesmith_runs_total",
        "counter",
        "Runs of the model for requests, by outcome: answered, failed, not_numbers (infinities or NaN, for inputs "
        "without) and refused (by the model, though they fit its signature).",
        ("outcome",),
        values=("answered", "failed", "not_numbers", "refused"),
    ),
    Metric(
        "edgesmith_confidence_total",
        "counter",
        "Sum over answers of the best class's score, where answers are probabilities of classes.",
    ),
    Metric("edgesmith_confident_answers_total", "counter", "Answers that edgesmith_confidence_total is about."),
    Metric(
        "edgesmith_gate_evidence",
        "gauge",
        "How strongly requests speak against a gate (errors, latency, confidence) while they are judged, from 0; "
        "at 1 the server ends.",
        ("gate",),
        values=("errors", "latency", "confidence"),
    ),
    Metric(
        "edgesmith_previous_known",
        "gauge",
        "Whether requests are held against those of the previous revision on this node (1) or not (0).",
    ),
    Metric(
        "edgesmith_golden_replays_total",
        "counter",
        "Golden samples that the serving model was asked for again, by result: agrees, differs, failed.",
        ("result",),
        values=("agrees", "differs", "failed"),
    ),
    Metric("edgesmith_observed_runs_total", "counter", "Answered runs that observers saw, where there are any."),
    Metric(
        "edgesmith_unobserved_runs_total",
        "counter",
        "Answered runs that observers did not see, because they were behind.",
    ),
    Metric("edgesmith_drifted", "gauge", "Whether what is asked is unlike the baseline of the model (1) or not (0)."),
    Metric("edgesmith_drift_known", "gauge", "Whether enough was seen to say so (1) or not (0)."),
    Metric("edgesmith_drift_samples_total", "counter", "Samples that were held against the baseline."),
    Metric("edgesmith_drift_episodes_total", "counter", "Times that drift began."),
    Metric(
        "edgesmith_drift_psi",
        "gauge",
        "Population stability index of a feature against the baseline, when it was last judged.",
        ("feature",),
    ),
    Metric("edgesmith_drift_psi_limit", "gauge", "What that may be, for as many samples.", ("feature",)),
    Metric(
        "edgesmith_drift_discrepancy",
        "gauge",
        "Squared maximum mean discrepancy of all features of the inputs together, when it was last judged.",
    ),
    Metric("edgesmith_drift_discrepancy_limit", "gauge", "What that may be, for as many samples."),
    Metric(
        "edgesmith_drift_scores_discrepancy",
        "gauge",
        "Squared maximum mean discrepancy of all scores of an output together, when it was last judged.",
    ),
    Metric("edgesmith_drift_scores_discrepancy_limit", "gauge", "What that may be, for as many samples."),
    Metric(
        "edgesmith_drift_novel_ratio",
        "gauge",
        "Least share, over the newest spans, of samples that are farther from the baseline than 99 of 100 of it.",
    ),
    Metric(
        "edgesmith_samples_total",
        "counter",
        "Samples that were chosen, by outcome: kept for a reason (uncertain, novel, random), or not kept (too_large, "
        "over_budget, spool_full, disk_full, disk_failed, not_redacted, failed).",
        ("outcome",),
        values=(
            *("uncertain", "novel", "random"),
            *("too_large", "over_budget", "spool_full", "disk_full", "disk_failed", "not_redacted", "failed"),
        ),
    ),
    Metric(
        "edgesmith_samples_dropped_total",
        "counter",
        "Samples that were kept and went for others that are worth more, or for a smaller limit.",
    ),
    Metric(
        "edgesmith_samples_missed_total",
        "counter",
        "Samples that no random sample stands for, because theirs was not kept.",
    ),
    Metric(
        "edgesmith_folder_usable",
        "gauge",
        "Whether all that was last to be kept in a folder (spool, notes) was kept (1) or not (0).",
        ("folder",),
    ),
    Metric("edgesmith_spool_objects", "gauge", "Samples that wait to be sent."),
    Metric("edgesmith_spool_bytes", "gauge", "Bytes of the disk that they take."),
    Metric(
        "edgesmith_uplink_tries_total",
        "counter",
        "Tries to send a sample, by what came of it: Sent and AlreadyThere, or why it waits.",
        ("reason",),
    ),
    Metric("edgesmith_uplink_bytes_total", "counter", "Bytes of samples that went over the link, tries included."),
    Metric(
        "edgesmith_model_info",
        "gauge",
        "The model that is served; always 1.",
        ("model", "precision", "engine", "digest"),
    ),
    Metric("process_resident_memory_bytes", "gauge", "Memory of the process that is resident now."),
    Metric("process_cpu_seconds_total", "counter", "Processor time that the process has used."),
    Metric("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970."),
)
"""Every metric there is, in the order in which they are written."""

_BY_NAME: Final = {metric.name: metric for metric in METRICS}

_Labels = tuple[str, ...]


class Metrics:
    """The values of `METRICS`. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, _Labels], float] = {}
        self._histograms: dict[tuple[str, _Labels], _Histogram] = {}
        self._started = time.time()
        for metric in METRICS:
            known: list[_Labels] = [(value,) for value in metric.values] if metric.labels else [()]
            for labels in known:
                if metric.kind == "histogram":
                    self._histograms[metric.name, labels] = _Histogram(metric.buckets)
                else:
                    self._values[metric.name, labels] = 0.0

    def add(self, name: str, *labels: str, by: float = 1.0) -> None:
        """Add to a counter or gauge."""
        key = (name, labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + by

    def put(self, name: str, *labels: str, value: float) -> None:
        """Set a gauge."""
        with self._lock:
            self._values[name, labels] = value

    def get(self, name: str, *labels: str) -> float:
        """Read a counter or gauge."""
        with self._lock:
            return self._values.get((name, labels), 0.0)

    def observe(self, name: str, *labels: str, value: float) -> None:
        """Add one observation to a histogram."""
        key = (name, labels)
        with self._lock:
            histogram = self._histograms.get(key)
            if histogram is None:
                histogram = self._histograms[key] = _Histogram(_BY_NAME[name].buckets)
            histogram.observe(value)

    def text(self) -> str:
        """Write every metric in Prometheus' text form, version 0.0.4."""
        self.put("process_resident_memory_bytes", value=resident_memory())
        self.put("process_cpu_seconds_total", value=time.process_time())
        self.put("process_start_time_seconds", value=self._started)
        with self._lock:
            return "\n".join(line for metric in METRICS for line in self._lines(metric)) + "\n"

    def _lines(self, metric: Metric) -> Iterator[str]:
        yield f"# HELP {metric.name} {metric.help}"
        yield f"# TYPE {metric.name} {metric.kind}"
        for (name, labels), value in sorted(self._values.items()):
            if name == metric.name:
                yield f"{name}{_labels(metric.labels, labels)} {_number(value)}"
        for (name, labels), histogram in sorted(self._histograms.items(), key=lambda item: item[0]):
            if name == metric.name:
                yield from histogram.lines(metric, labels)


class _Histogram:
    def __init__(self, buckets: tuple[float, ...]) -> None:
        self.buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.buckets, value)] += 1
        self.sum += value

    def lines(self, metric: Metric, labels: _Labels) -> Iterator[str]:
        total = 0
        for bound, count in zip((*map(_number, self.buckets), "+Inf"), self.counts, strict=True):
            total += count
            yield f"{metric.name}_bucket{_labels((*metric.labels, 'le'), (*labels, bound))} {total}"
        yield f"{metric.name}_sum{_labels(metric.labels, labels)} {_number(self.sum)}"
        yield f"{metric.name}_count{_labels(metric.labels, labels)} {total}"


def _labels(names: tuple[str, ...], values: _Labels) -> str:
    if not names:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True)) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
