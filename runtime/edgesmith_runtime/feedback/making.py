"""Makes what observes a server's runs out of what was loaded."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.bundle.files import open_plain
from edgesmith_runtime.drift.baseline import LARGEST, Baseline, BaselineError
from edgesmith_runtime.drift.observer import Drift
from edgesmith_runtime.feedback.arguments import Privacy
from edgesmith_runtime.observing import Observers
from edgesmith_runtime.sampling.making import recorder_of

if TYPE_CHECKING:
    from edgesmith_runtime.feedback.arguments import Feedback
    from edgesmith_runtime.loading import Loaded
    from edgesmith_runtime.metrics import Metrics
    from edgesmith_runtime.observing import Observer

__all__ = ["Observed", "observers_of"]

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observed:
    """What observes runs.

    Attributes:
        observers: All of it; None where nothing does.
        drift: Who watches for drift, among them; None where nobody does.
    """

    observers: Observers | None = None
    drift: Drift | None = None


def observers_of(loaded: Loaded, asked: Feedback, metrics: Metrics, *, name: str) -> Observed:
    """Make what observes runs, before the model is served.

    Nothing where making it fails: what cannot see requests costs no answer.

    Args:
        loaded: The model, its bundle and its golden samples.
        asked: What may be seen.
        metrics: Where runs are counted.
        name: What clients call the model.
    """
    if asked.privacy is Privacy.NONE:
        return Observed()
    try:
        return _made(loaded, asked, metrics, name=name)
    except Exception:  # noqa: BLE001 - a mistake of ours must not take the model off its node
        _log.exception("requests are served, and seen neither for drift nor for samples")
        return Observed()


def _made(loaded: Loaded, asked: Feedback, metrics: Metrics, *, name: str) -> Observed:
    drift = _drift(loaded, asked)
    observers: list[Observer] = [drift] if drift is not None else []
    if asked.privacy is Privacy.SAMPLES:
        novelty = drift.novelty if drift is not None else None
        recorder = recorder_of(loaded, asked.sampling, metrics, name=name, novelty=novelty)
        observers += [recorder] if recorder is not None else []
    return Observed(Observers(observers, metrics) if observers else None, drift)


def _drift(loaded: Loaded, asked: Feedback) -> Drift | None:
    bundle = loaded.bundle
    if bundle.baseline is None:
        _log.warning("the bundle has no baseline, so drift is not watched for")
        return None
    try:
        with open_plain(bundle.folder / bundle.baseline) as stream:
            baseline = Baseline.read(stream.read(LARGEST + 1))
    except (OSError, BaselineError) as error:
        _log.error("drift is not watched for: %s", error)
        return None
    return Drift(baseline, asked.drift_cycle, asked.notes)
