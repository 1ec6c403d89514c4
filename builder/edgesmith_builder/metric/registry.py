"""Which metrics there are, by the names that requests have for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgesmith_builder.contract import MetricName
from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.metric.accuracy import Accuracy
from edgesmith_builder.metric.detection import MeanAveragePrecision
from edgesmith_builder.metric.f1 import MacroF1
from edgesmith_builder.metric.interface import Metric
from edgesmith_builder.metric.regression import mae, r2, rmse
from edgesmith_builder.metric.topk import TopK

METRICS: Mapping[MetricName, Callable[..., Metric[Any]]] = {
    "Accuracy": Accuracy,
    "TopK": TopK,
    "MacroF1": MacroF1,
    "RMSE": rmse,
    "MAE": mae,
    "R2": r2,
    "MeanAveragePrecision": MeanAveragePrecision,
}
"""Each takes what it may be told by name, as text."""


def metric_of(name: MetricName, options: Mapping[str, str]) -> Metric[Any]:
    """The metric of a name, told what a request says.

    Raises:
        RequestInvalid: where it cannot be told that.
    """
    try:
        return METRICS[name](**options)
    except TypeError as error:
        raise RequestInvalid(
            f"build.metricOptions has {', '.join(sorted(options))}; other options were expected with the metric {name}"
        ) from error
