"""What a server's traffic is held to, and whether it keeps that. Pure.

What the previous revision showed on the same node is a sample, too: a bound is made of what it leaves possible, so that
it errs to the new revision's side. Over its whole life a server that keeps the bounds is found against with a chance of
`ALPHA` at most.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from edgesmith_runtime.judging.evidence import (
    bound_of_mean,
    bound_of_share,
    evidence_of_mean,
    evidence_of_share,
    wanted,
)
from edgesmith_runtime.judging.sketch import slowest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgesmith_runtime.judging.figures import Figures
    from edgesmith_runtime.judging.traffic import Window

__all__ = [
    "ALPHA",
    "ENOUGH",
    "GATES",
    "LONG",
    "Bounds",
    "Gate",
    "Gates",
    "Verdict",
    "bounds_of",
    "comparable",
    "evidence_of",
    "verdict",
    "wanted_by",
]

ALPHA: Final = 1e-3
"""The chance that a server that keeps every bound is found against, ever."""
ENOUGH: Final = 300
"""Requests of the previous revision before anything is held against it: fewer say too little."""
LONG: Final = 2000
"""Requests of a window. Evidence begins anew with each, or what a server did well at first would hide what comes."""
_PART: Final = ALPHA / 6
"""Three gates, and each may err about the previous revision and about this one."""
_HALF: Final = 0.5

Gate = Literal["errors", "latency", "confidence"]
GATES: Final[tuple[Gate, ...]] = ("errors", "latency", "confidence")


@dataclass(frozen=True, slots=True)
class Gates:
    """What the EdgeModel asks for.

    Attributes:
        max_error_rate: Failures as a share of requests, above those of the previous revision; from 0 up to 1.
        max_latency_ratio: How many times the previous revision's median time a run may take; None: not judged.
        max_confidence_drop: How far the mean confidence may be below the previous revision's; None: not judged.
        min_requests: Requests before anything is found.
        period: Seconds for which requests are judged; 0: not at all.
    """

    max_error_rate: float = 0.05
    max_latency_ratio: float | None = None
    max_confidence_drop: float | None = None
    min_requests: int = 50
    period: float = 3600.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What this server is held to.

    Attributes:
        errors: The share of requests that may fail.
        refusals: Whether requests that the model refuses count: the previous revision was asked the same.
        slow_above: Seconds that half of the runs may take; None: not judged.
        unsure: What the mean confidence may lack to 1; None: not judged.
        before: What the previous revision showed by each gate, as the end of a sentence; empty where nothing is known.
    """

    errors: float
    refusals: bool = False
    slow_above: float | None = None
    unsure: float | None = None
    before: Mapping[Gate, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bound that a server does not keep.

    Attributes:
        reason: In the words of termination messages.
        message: One sentence.
    """

    reason: Literal["ErrorRateExceeded", "LatencyRatioExceeded", "ConfidenceDropExceeded"]
    message: str


def comparable(previous: Figures | None, model: str) -> bool:
    """Whether a server can be held against the one before it.

    It must have been asked enough, and be what this one replaces: the same model is no revision of itself, and where
    the other one once took the place of this model, this is the way back, for which there is a reason.
    """
    return previous is not None and previous.requests >= ENOUGH and model not in (previous.model, previous.before)


def bounds_of(gates: Gates, previous: Figures | None) -> Bounds:
    """What a server is held to.

    Args:
        gates: What is asked for.
        previous: What the previous revision showed; None where there is none that it can be held against.
    """
    if previous is None:
        return Bounds(gates.max_error_rate)
    bad, answered = previous.failed + previous.refused, sum(previous.taken)
    errors = gates.max_error_rate + bound_of_share(bad / previous.requests, previous.requests, _PART)
    slow_above = unsure = None
    if gates.max_latency_ratio is not None and answered >= ENOUGH:
        rank = bound_of_share(_HALF, answered, _PART)
        slow_above = gates.max_latency_ratio * slowest(previous.taken, rank)
    if gates.max_confidence_drop is not None and previous.sure >= ENOUGH:
        lacking = bound_of_mean(1 - previous.confidence, previous.variance, previous.sure, _PART)
        unsure = lacking + gates.max_confidence_drop
    return Bounds(min(errors, 1.0), refusals=True, slow_above=slow_above, unsure=unsure, before=_told(previous))


def wanted_by(number: int) -> float:
    """The evidence of one gate that ends a server in a window, as a logarithm."""
    return wanted(_PART, number)


def evidence_of(window: Window, bounds: Bounds) -> dict[Gate, float]:
    """How strongly a window speaks against each bound, as a logarithm."""
    bad = window.failed + (window.refused if bounds.refusals else 0)
    # Without a previous revision a request that the model refuses is its client's mistake, and no request at all.
    asked = window.requests if bounds.refusals else window.requests - window.refused
    found: dict[Gate, float] = {"errors": evidence_of_share(asked, bad, bounds.errors)}
    if bounds.slow_above is not None:
        found["latency"] = evidence_of_share(window.timed, window.slow, _HALF)
    if bounds.unsure is not None:
        found["confidence"] = evidence_of_mean(window.sure, window.unsure, window.spread, bounds.unsure)
    return found


def verdict(window: Window, bounds: Bounds, gates: Gates, number: int) -> Verdict | None:
    """Whether a bound is not kept.

    Args:
        window: What was seen in it so far.
        bounds: What the server is held to.
        gates: What they are made of.
        number: The window's number, from 1.
    """
    if window.requests < gates.min_requests:
        return None
    enough = wanted_by(number)
    broken = [gate for gate, found in evidence_of(window, bounds).items() if found >= enough]
    return _said(broken[0], window, bounds, gates) if broken else None


def _said(gate: Gate, window: Window, bounds: Bounds, gates: Gates) -> Verdict:
    compared = f"; the previous revision on this node {bounds.before[gate]}" if gate in bounds.before else ""
    if gate == "errors":
        failed = f"{window.failed} of {window.requests} requests failed"
        if bounds.refusals and window.refused:
            failed += f" and {window.refused} were refused by the model"
        expected = f"expected at most {_percent(bounds.errors)} (gates.traffic.maxErrorRate is "
        return Verdict("ErrorRateExceeded", f"{failed}; {expected}{_percent(gates.max_error_rate)}){compared}")
    if gate == "latency":
        expected = f"expected {(bounds.slow_above or 0) * 1000:.3g} ms or less for half of them"
        asked = f"gates.traffic.maxLatencyRatio is {gates.max_latency_ratio:g}"
        slow = f"{window.slow} of {window.timed} runs of the model took longer than they may"
        return Verdict("LatencyRatioExceeded", f"{slow}; {expected} ({asked}){compared}")
    mean = 1 - window.unsure / max(window.sure, 1)
    expected = f"expected {1 - (bounds.unsure or 0):.3f} or more (gates.traffic.maxConfidenceDrop is "
    sure = f"the mean confidence of {window.sure} answers is {mean:.3f}"
    return Verdict("ConfidenceDropExceeded", f"{sure}; {expected}{gates.max_confidence_drop:g}){compared}")


def _told(previous: Figures) -> dict[Gate, str]:
    bad = previous.failed + previous.refused
    return {
        "errors": f"failed {bad} of {previous.requests}",
        "latency": f"took {slowest(previous.taken, _HALF) * 1000:.3g} ms for half of its runs",
        "confidence": f"had a mean confidence of {previous.confidence:.3f}",
    }


def _percent(share: float) -> str:
    return f"{share * 100:.3g}%"
