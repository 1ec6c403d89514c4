"""Makes what observes a server's runs out of what was loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgesmith_runtime.feedback.arguments import Privacy
from edgesmith_runtime.observing import Observers
from edgesmith_runtime.sampling.making import recorder_of

if TYPE_CHECKING:
    from edgesmith_runtime.feedback.arguments import Feedback
    from edgesmith_runtime.loading import Loaded
    from edgesmith_runtime.metrics import Metrics
    from edgesmith_runtime.observing import Observer

__all__ = ["observers_of"]


def observers_of(loaded: Loaded, asked: Feedback, metrics: Metrics, *, name: str) -> Observers | None:
    """Make what observes runs, before the model is served; None where nothing does.

    Args:
        loaded: The model, its bundle and its golden samples.
        asked: What may be seen.
        metrics: Where runs are counted.
        name: What clients call the model.
    """
    if asked.privacy is Privacy.NONE:
        return None
    observers: list[Observer] = []
    if asked.privacy is Privacy.SAMPLES:
        recorder = recorder_of(loaded, asked.sampling, metrics, name=name)
        observers += [recorder] if recorder is not None else []
    return Observers(observers, metrics) if observers else None
