"""Watches a server for as long as it serves, and says when it must end."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from edgesmith_runtime.judging.bounds import GATES, LONG, Bounds, bounds_of, comparable, evidence_of, verdict, wanted_by
from edgesmith_runtime.judging.previous import ask
from edgesmith_runtime.termination import Finding

if TYPE_CHECKING:
    from edgesmith_runtime.judging.bounds import Gate, Gates
    from edgesmith_runtime.judging.figures import Figures
    from edgesmith_runtime.judging.notes import Notes
    from edgesmith_runtime.judging.replaying import Replay
    from edgesmith_runtime.judging.traffic import Traffic
    from edgesmith_runtime.metrics import Metrics

__all__ = ["Judge"]

_log: Final = logging.getLogger(__name__)
_LOOK: Final = 0.25
"""Seconds between two looks."""
_ASK: Final = 2.0
"""Seconds between two questions to the previous server."""
_ASKED: Final = 40.0
"""Seconds after which it is gone: it ends once this one is ready."""
_SETTLE: Final = 30.0
"""Seconds until times are judged: until then the other server may still be on the same cores."""


class Judge:
    """Judges one server.

    Args:
        gates: What is asked for.
        traffic: How requests go; None where they are not judged.
        replay: Who asks for golden samples again.
        service: Address and port of the Service; None where it is not known.
        notes: What is kept for the pod's next start.
    """

    def __init__(
        self, gates: Gates, traffic: Traffic | None, replay: Replay, service: tuple[str, int] | None, notes: Notes
    ) -> None:
        self.traffic = traffic
        self._notes = notes
        self._gates = gates
        self._replay = replay
        self._service = service
        self._bounds = Bounds(gates.max_error_rate)
        self._number = 1
        self._seen = 0
        self._known = False
        self._evidence: dict[Gate, float] = {}

    async def run(self) -> Finding:
        """Look again and again, until something is found."""
        began = time.monotonic()
        asking = asyncio.ensure_future(self._meet(began))
        try:
            while True:
                now = time.monotonic()
                found = self._look(now - began) or self._replay.look(now)
                if found is not None:
                    return found
                await asyncio.sleep(_LOOK)
        finally:
            asking.cancel()

    def tell(self, metrics: Metrics) -> None:
        """Write what is known as metrics."""
        if self.traffic is None:
            return
        totals = self.traffic.totals()
        outcomes = {
            "answered": totals.answered,
            "failed": totals.failed,
            "not_numbers": totals.not_numbers,
            "refused": totals.refused,
        }
        for outcome, count in outcomes.items():
            metrics.put("edgesmith_runs_total", outcome, value=count)
        metrics.put("edgesmith_confidence_total", value=totals.confidence)
        metrics.put("edgesmith_confident_answers_total", value=totals.sure)
        metrics.put("edgesmith_previous_known", value=self._known)
        for gate in GATES:
            metrics.put("edgesmith_gate_evidence", gate, value=self._evidence.get(gate, 0.0))

    async def _meet(self, began: float) -> None:
        """Ask the previous server until it answers, or must be gone."""
        if self.traffic is None or self._service is None:
            return
        host, port = self._service
        while time.monotonic() - began < _ASKED:
            found = await ask(host, port, own=self.traffic.instance)
            if found is not None:
                self._met(self.traffic, found)
                return
            await asyncio.sleep(_ASK)

    def _end(self) -> None:
        self._notes.over = True
        self._notes.keep()

    def _met(self, traffic: Traffic, found: Figures) -> None:
        """Take up what the previous server says."""
        traffic.before = found.before if found.model == traffic.model else found.model
        self._notes.before = traffic.before
        self._notes.keep()
        self._known = comparable(found, traffic.model)
        if self._known:
            self._bounds = bounds_of(self._gates, found)
        _log.info(
            "the previous server on this node answered",
            extra={"requests": found.requests, "compared": self._known},
        )

    def _look(self, age: float) -> Finding | None:
        """Judge what was seen of the requests so far."""
        traffic = self.traffic
        if traffic is None or self._notes.over:
            return None
        if age >= self._gates.period:
            self._evidence, traffic.slow_above = {}, None
            self._end()
            return None
        if age >= _SETTLE:
            traffic.slow_above = self._bounds.slow_above
        window = traffic.window()
        if window.requests == self._seen:
            return None
        self._seen = window.requests
        enough = wanted_by(self._number)
        self._evidence = {gate: max(0.0, found / enough) for gate, found in evidence_of(window, self._bounds).items()}
        found = verdict(window, self._bounds, self._gates, self._number)
        if found is not None:
            self._end()
            return Finding(found.reason, found.message)
        if window.requests >= LONG:
            traffic.begin_window()
            self._number, self._seen = self._number + 1, 0
        return None
