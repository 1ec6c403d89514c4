"""What an estimator answers itself: what its conversion is held against, row by row."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_outlier_detector, is_regressor

LABEL, PROBABILITIES, SCORES, VALUE = "label", "probabilities", "scores", "value"
"""Names of a converted model's outputs."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """A fitted estimator, asked as scikit-learn's users ask it."""

    fitted: Any

    @property
    def name(self) -> str:
        """As its class is called."""
        return type(self.fitted).__name__

    @property
    def library(self) -> str:
        """What computes."""
        return f"scikit-learn {sklearn.__version__}"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it answers, in the order in which converters have them; none where it does not predict."""
        if is_regressor(self.fitted):
            return (VALUE,)
        if is_classifier(self.fitted):
            return LABEL, PROBABILITIES if hasattr(self.fitted, "predict_proba") else SCORES
        return (LABEL, SCORES) if is_outlier_detector(self.fitted) and hasattr(self.fitted, "predict") else ()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of its classes in its own order."""
        found = getattr(self.fitted, "classes_", None)
        return tuple(str(name) for name in found) if isinstance(found, np.ndarray) and found.ndim == 1 else None

    def answers(self, rows: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """What it answers to rows of features, by output; the first axis counts rows.

        Raises:
            Exception: whatever the estimator raises for rows that it does not take.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = {self.outputs[0]: np.asarray(self.fitted.predict(rows))}
            if PROBABILITIES in self.outputs:
                found[PROBABILITIES] = np.asarray(self.fitted.predict_proba(rows))
            elif SCORES in self.outputs and hasattr(self.fitted, "decision_function"):
                found[SCORES] = np.asarray(self.fitted.decision_function(rows))
        return found
