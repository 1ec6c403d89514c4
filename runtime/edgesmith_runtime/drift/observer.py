"""Drift as an observer of runs."""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING, Final

import numpy as np

from edgesmith_runtime.complaints import Complaints
from edgesmith_runtime.drift.state import keep, take_up
from edgesmith_runtime.drift.verdict import Verdict, verdict_of
from edgesmith_runtime.drift.watch import MOST_ROWS, NOVEL, SCORES, SKETCH, State, Watch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edgesmith_runtime.drift.baseline import Baseline
    from edgesmith_runtime.metrics import Metrics
    from edgesmith_runtime.observing import Run

__all__ = ["Drift"]

_log: Final = logging.getLogger(__name__)
_STATE: Final = "state"
_KEEP: Final = 60.0
"""Seconds between two writes of the state: what a crash loses."""


class Drift:
    """Watches runs, keeps what it knows and says it.

    Args:
        baseline: What runs are held against.
        cycle: See `Watch`.
        notes: A folder that outlives the server; None: nothing is kept.
    """

    def __init__(self, baseline: Baseline, cycle: float, notes: Path | None) -> None:
        self._watch = Watch(baseline, cycle)
        self._notes = notes
        self._kept = 0.0
        self._changed = False
        self._far: tuple[Run, NDArray[np.float64]] | None = None
        self._lock = threading.Lock()
        self._disk = Complaints("notes")
        if notes is not None:
            self._begin(notes)
        self._said = verdict_of(self._watch)

    @property
    def verdict(self) -> Verdict:
        """What is known; from any thread."""
        with self._lock:
            return self._said

    def observe(self, run: Run) -> None:
        """Take up a run; see `Observer`."""
        self._far = None
        self._far = run, self._watch.see(run.inputs, run.outputs, run.at)
        self._changed = True

    def novelty(self, run: Run) -> NDArray[np.float64] | None:
        """How unlike the baseline the samples of a run are: from 0; above 1 is what one of a hundred of its was.

        None where nothing is read of the inputs. It does not depend on what was seen before; of a run that was
        taken up just now, as a whole, it is known.
        """
        if self._far is not None and self._far[0] is run and len(self._far[1]) < MOST_ROWS:
            distances = self._far[1]
        else:
            distances = self._watch.distances(run.inputs, run.outputs)
        return distances if distances.size else None

    def idle(self, now: float) -> float:
        """Let time pass, say what is known and keep it; see `Observer`."""
        self._far = None
        self._watch.pass_to(now)
        said, before = verdict_of(self._watch), self._said
        turned = said.key != before.key  # since it was last said: without a cycle a run that was observed may turn it
        if turned:
            _log.info("drift", extra={"before": before.state, "state": said.state, "features": said.features})
        with self._lock:
            self._said = said
        if turned or (self._changed and not 0 <= now - self._kept < _KEEP):
            self._keep(now)
        return min(self._watch.left(now), self._kept + _KEEP - now if self._changed else math.inf)

    def tell(self, metrics: Metrics) -> None:
        """Write what is known as metrics; see `Observer`."""
        watch = self._watch
        if self._notes is not None:
            self._disk.tell(metrics)
        metrics.put("edgesmith_drifted", value=watch.state is State.DRIFTED)
        metrics.put("edgesmith_drift_known", value=watch.state is not State.LEARNING)
        metrics.put("edgesmith_drift_samples_total", value=watch.samples)
        metrics.put("edgesmith_drift_episodes_total", value=watch.episodes)
        metrics.put("edgesmith_drift_novel_ratio", value=watch.novel.value)
        for figure in watch.figures:
            if figure.name == SKETCH:
                metrics.put("edgesmith_drift_discrepancy", value=figure.value)
                metrics.put("edgesmith_drift_discrepancy_limit", value=_finite(figure.limit))
            elif figure.name == SCORES:
                metrics.put("edgesmith_drift_scores_discrepancy", value=figure.value)
                metrics.put("edgesmith_drift_scores_discrepancy_limit", value=_finite(figure.limit))
            elif figure.name != NOVEL:
                metrics.put("edgesmith_drift_psi", figure.name, value=figure.value)
                metrics.put("edgesmith_drift_psi_limit", figure.name, value=_finite(figure.limit))

    def close(self) -> None:
        """Keep what is known; see `Observer`."""
        if self._changed:
            self._keep(self._kept)

    def _keep(self, now: float) -> None:
        """Write it down; what could not be written is tried again as the next change would be."""
        self._kept, self._changed = now, False
        if self._notes is None:
            return
        try:
            keep(self._watch, self._notes)
        except OSError as error:
            self._changed = True
            self._disk.wrong(_STATE, f"what is known of drift cannot be kept: {error.strerror}")
        else:
            self._disk.right(_STATE)

    def _begin(self, notes: Path) -> None:
        """Go on from before, or say why not."""
        try:
            found = take_up(self._watch, notes)
        except FileNotFoundError:
            return
        except OSError as error:
            self._disk.wrong(_STATE, f"drift begins anew: what was kept cannot be read: {error.strerror}")
            return
        if found:
            _log.info("drift goes on from before", extra={"state": self._watch.state, "samples": self._watch.samples})
            return
        _log.info("drift begins anew: what was kept is of another model or form, or spoilt")
        self._keep(self._kept)  # said once


def _finite(value: float) -> float:
    return value if np.isfinite(value) else 0.0
