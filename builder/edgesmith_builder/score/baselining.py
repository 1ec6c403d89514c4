"""The baseline of drift: what a candidate's inputs and answers are like, read as devices read theirs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_runtime.drift.recording import baseline_of
from edgesmith_runtime.engine import Engine, EngineError
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.judging.confidence import probabilities

MOST = 1000
"""Samples that a baseline is made of; of a larger set every so many-th."""

Arrays = dict[str, NDArray[Any]]


def baseline(engine: Engine, samples: Samples, golden: Golden, seed: str) -> bytes | None:
    """Ask a candidate, one sample at a time, and write down what is asked and answered.

    The candidate itself, so that what quantising shifts is no drift.

    Args:
        engine: The candidate.
        samples: What to ask.
        golden: Its golden samples.
        seed: Of random projections: the model's digest.

    Returns:
        The file; None where there are too few samples.
    """
    axes = {name: array.ndim - 1 for name, array in samples.inputs.items()}
    made = baseline_of(_answered(engine, samples), axes, seed=seed, classes=probabilities(engine, golden))
    return made.write() if made is not None else None


def _answered(engine: Engine, samples: Samples) -> Iterator[tuple[Arrays, Arrays]]:
    for index in np.unique(np.linspace(0, len(samples) - 1, min(MOST, len(samples))).astype(int)).tolist():
        feed = samples.feed(index)
        try:
            yield feed, engine.infer(feed)
        except EngineError:
            continue  # one that is scored is told there
