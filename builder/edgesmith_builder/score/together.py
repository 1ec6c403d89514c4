"""How much what a sample is answered depends on the samples that are asked with it."""

from __future__ import annotations

import numpy as np

from edgesmith_builder.dataset import Samples
from edgesmith_runtime.engine import Engine, EngineError

_SAMPLES = 32
"""How many are asked at once."""


def apart(engine: Engine, samples: Samples) -> tuple[float, int]:
    """Ask some samples at once and each alone.

    Args:
        engine: A model.
        samples: What to ask, of a model that takes several at once.

    Returns:
        The largest difference of a number, as a share of the range of its output over these samples, and how many were
        asked at once; 0 where they cannot be asked at once.
    """
    count = min(_SAMPLES, len(samples))
    if not samples.batches or count == 1:
        return 0.0, count
    try:
        together = engine.infer(samples.feed(0, count))
        alone = [engine.infer(samples.feed(index)) for index in range(count)]
    except EngineError:
        return 0.0, count  # samples of other sizes, or a first axis that the graph inside does not keep to
    worst = 0.0
    for name, array in together.items():
        if (
            array.dtype.kind != "f"
            or len(array) != count
            or any(one[name].shape != (1, *array.shape[1:]) for one in alone)
        ):
            continue
        single = np.concatenate([one[name] for one in alone]).astype(np.float64)
        fine = np.isfinite(single) & np.isfinite(array)  # a logarithm of zero has no distance to a number
        kept = single[fine]
        span = float(kept.max() - kept.min()) if kept.size else 0.0
        if span > 0:
            worst = max(worst, float(np.abs(array[fine] - kept).max()) / span)
    return worst, count
