"""Makes what takes samples out of what was loaded."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.judging.confidence import probabilities
from edgesmith_runtime.loading import has_batch
from edgesmith_runtime.sampling.arguments import node_name
from edgesmith_runtime.sampling.choosing import Chooser
from edgesmith_runtime.sampling.later import Later
from edgesmith_runtime.sampling.likeness import Likeness
from edgesmith_runtime.sampling.recorder import Keeping, Recorder, Subject
from edgesmith_runtime.spool.budget import DayBudget
from edgesmith_runtime.spool.disk import RealDisk
from edgesmith_runtime.spool.elapsed import instant
from edgesmith_runtime.spool.spool import Spool
from edgesmith_runtime.tensors import ANY_SIZE
from edgesmith_runtime.uplink.standing import FILE, OBJECTS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from edgesmith_runtime.loading import Loaded
    from edgesmith_runtime.metrics import Metrics
    from edgesmith_runtime.observing import Run
    from edgesmith_runtime.sampling.arguments import Sampling

__all__ = ["recorder_of"]

_log: Final = logging.getLogger(__name__)
_COMPARED: Final = 64
"""Golden samples that likeness is measured by."""


def recorder_of(
    loaded: Loaded,
    asked: Sampling,
    metrics: Metrics,
    *,
    name: str,
    novelty: Callable[[Run], NDArray[np.float64] | None] | None = None,
) -> Later | None:
    """Make what takes samples, before the model is served; None where it cannot be, which is logged.

    Args:
        loaded: The model, its bundle and its golden samples.
        asked: How samples are taken.
        metrics: Where they are counted.
        name: What clients call the model.
        novelty: How novel the samples of a run are; None where nothing says it.
    """
    engine, golden, bundle = loaded.model.engine, loaded.golden, loaded.bundle
    tensors = [spec.name for spec in (*bundle.inputs, *bundle.outputs)]
    if (unknown := asked.redaction.unknown(tensors)) is not None:
        _log.error("no samples are taken: %r is to be redacted, and the model has no such tensor", unknown)
        return None
    batched = frozenset(tensors) if all(has_batch(spec, golden) for spec in bundle.inputs) else frozenset()
    batched -= {spec.name for spec in bundle.outputs if spec.shape[:1] != (ANY_SIZE,)}
    classes = probabilities(engine, golden)
    subject = Subject(name, bundle.model_digest, bundle.precision, node_name(), batched, classes)
    rates = asked.rates(unsure=classes is not None, novel=novelty is not None)
    likeness = Likeness(golden.samples(engine)[:_COMPARED])

    def make() -> Recorder:
        keeping, seconds = _opened(asked, metrics)
        chooser = Chooser(rates, likeness, seed=secrets.randbits(64), now=seconds)
        return Recorder(subject, chooser, asked.redaction, keeping, metrics, novelty=novelty)

    return Later(make)


def _opened(asked: Sampling, metrics: Metrics) -> tuple[Keeping, float]:
    """Where samples are kept, and the seconds that have surely passed.

    Raises:
        OSError: The folder cannot be used.
    """
    disk, objects = RealDisk(), asked.spool / OBJECTS
    objects.mkdir(parents=True, exist_ok=True)
    spool, now = Spool(disk, objects, asked.disk_bytes), instant()
    metrics.add("edgesmith_samples_dropped_total", by=len(spool.recover()))
    budget = DayBudget(disk, asked.spool, asked.day_bytes, now)
    return Keeping(spool, budget, asked.spool / FILE), budget.advance(now)
