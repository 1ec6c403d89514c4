"""What a server says of drift: compact JSON, which a kubelet brings home."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgesmith_runtime.drift.watch import TOGETHER, State

if TYPE_CHECKING:
    from edgesmith_runtime.drift.watch import Watch

__all__ = ["LONGEST", "PAGE", "Verdict", "read_verdict", "verdict_of"]

PAGE: Final = "/drift"
VERSION: Final = 1
LONGEST: Final = 2048
"""Bytes of a verdict; a termination message has 4,096 at most."""
_WORST: Final = 5
_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Verdict:
    """One verdict.

    Attributes:
        baseline: Which baseline it is about: the first 12 digits of its digest.
        state: What is known.
        since: When that began, in seconds since 1970.
        samples: How many were seen.
        features: Name, value and limit of the worst features, and of what is judged of all together where that is
            above its limit; five at most.
    """

    baseline: str
    state: State
    since: int
    samples: int
    features: tuple[tuple[str, float, float], ...] = ()

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes it another verdict: more samples do not."""
        return self.baseline, self.state.value, self.since

    def write(self) -> bytes:
        """Write it."""
        document = {
            "version": VERSION,
            "baseline": self.baseline,
            "state": self.state.value,
            "since": self.since,
            "samples": self.samples,
            "features": [{"name": name, "value": value, "limit": limit} for name, value, limit in self.features],
        }
        return json.dumps(document, separators=(",", ":")).encode()


def verdict_of(watch: Watch) -> Verdict:
    """What a watch says now."""
    named: list[tuple[str, float, float]] = []
    if watch.state is State.DRIFTED:
        ranked = sorted((watch.novel, *watch.figures), key=lambda one: -one.ratio)
        features = [one for one in ranked if one.name not in TOGETHER and one.ratio > 0]
        together = [one for one in ranked if one.name in TOGETHER and one.ratio > 1]
        shown = [*features[: _WORST - len(together)], *together]
        named = [(one.name[:_LONGEST_NAME], _short(one.value), _short(one.limit)) for one in shown]
    digest = watch.baseline.digest.removeprefix("sha256:")[:12]
    return Verdict(digest, watch.state, int(watch.since), watch.samples, tuple(named))


def read_verdict(data: bytes) -> Verdict | None:
    """Read one; None where it is none, or of another version."""
    if len(data) > LONGEST:
        return None
    try:
        found = json.loads(data)
        if not isinstance(found, dict) or found.get("version") != VERSION:
            return None
        features = tuple(_feature(item) for item in found["features"][:_WORST])
        since, samples = found["since"], found["samples"]
        if type(since) is not int or type(samples) is not int or since < 0 or samples < 0:
            return None
        baseline = found["baseline"]
        if not isinstance(baseline, str):
            return None
        return Verdict(baseline[:64], State(found["state"]), since, samples, features)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


def _feature(item: Any) -> tuple[str, float, float]:
    name, value, limit = item["name"], float(item["value"]), float(item["limit"])
    if not isinstance(name, str) or not math.isfinite(value) or not math.isfinite(limit):
        raise ValueError(name)
    return name[:_LONGEST_NAME], value, limit


def _short(value: float) -> float:
    return float(f"{value:.3g}") if math.isfinite(value) else 0.0
