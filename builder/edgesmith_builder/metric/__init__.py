"""How answers are scored on the evaluation set: one module a metric, behind one interface."""

from edgesmith_builder.metric.calibration import check_classes
from edgesmith_builder.metric.interface import Change, Evaluation, Metric, Score
from edgesmith_builder.metric.registry import metric_of

__all__ = ["Change", "Evaluation", "Metric", "Score", "check_classes", "metric_of"]
