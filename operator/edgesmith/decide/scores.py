"""What a build measured of a candidate, as the status has it: text."""

from __future__ import annotations

from edgesmith.api.fraction import format_fraction
from edgesmith.api.gates import ERRORS
from edgesmith_builder.contract import BuildReport, Candidate, MetricName, number_text

_SENTENCE = 1024
"""Characters of a sentence that the status takes."""

_FRACTIONS = (
    *("accuracy", "accuracy_error", "accuracy_drop", "accuracy_drop_error"),
    *("agreement", "agreement_error", "multiplications"),
)
_VALUES = ("accuracy", "accuracy_error")
"""Those that have the metric's own unit."""


def scores(measured: BuildReport | Candidate, metric: MetricName) -> dict[str, str]:
    """Scores by the field of the status: percentages, and an error (RMSE, MAE) in the labels' own unit."""
    found = {name: format_fraction(value) for name in _FRACTIONS if (value := getattr(measured, name)) is not None}
    if metric in ERRORS:
        found |= {name: number_text(value) for name in _VALUES if (value := getattr(measured, name)) is not None}
    return found


def bounded(text: str) -> str:
    """A sentence that fits into the status."""
    return text if len(text) <= _SENTENCE else f"{text[: _SENTENCE - 1]}…"
