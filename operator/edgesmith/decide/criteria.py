"""What finalists of a trial are compared by: each criterion says which of two is better, where that can be told.

`beats` is an order: of three, who beats one that beats another beats that one as well. So among any of them somebody is
beaten by nobody, and of two that nobody beats neither is better.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from math import hypot, inf

from edgesmith.api.trial_status import FinalistStatus
from edgesmith.api.units import parse_duration

LEAST_NOISE = 0.05
"""The share by which latencies of one file differ between two processes on one device (docs/benchmarks.md), however
much alike the runs within each are."""
MOST_NOISE = 0.10
"""The share above which a difference is said to be one, however uneven the runs are."""


class Criterion(ABC):
    """One way to compare two finalists."""

    name: str
    """What the choice is said to be by."""

    @abstractmethod
    def beats(self, one: FinalistStatus, other: FinalistStatus) -> bool:
        """Whether the first is better by so much that it can be told."""

    @abstractmethod
    def better(self, one: FinalistStatus, other: FinalistStatus) -> str:
        """What the first is beside one that it beats: the end of a sentence that begins with its name."""

    @abstractmethod
    def equal(self, one: FinalistStatus, other: FinalistStatus) -> str:
        """What the first is beside one where neither beats the other."""


class Speed(Criterion):
    """The p95 latency on the device; what lies within the noise of the trial is equal."""

    name = "latency"

    def __init__(self, finalists: Iterable[FinalistStatus]) -> None:
        """Compare finalists of one trial.

        Args:
            finalists: All of it that are compared: the noise is that of the most uneven one.
        """
        self.noise = noise_of(finalists)

    def beats(self, one: FinalistStatus, other: FinalistStatus) -> bool:
        """See `Criterion`."""
        return p95(one) * (1 + self.noise) < p95(other)

    def better(self, one: FinalistStatus, other: FinalistStatus) -> str:
        """See `Criterion`."""
        return f"faster: {_latencies(one, other)}"

    def equal(self, one: FinalistStatus, other: FinalistStatus) -> str:
        """See `Criterion`."""
        return f"about as fast, {_latencies(one, other)}"


class AsMeasured(Criterion):
    """The smaller p95 as it was measured, noise or not: what is left where nothing else tells two apart."""

    name = "latency as measured"

    def beats(self, one: FinalistStatus, other: FinalistStatus) -> bool:
        """See `Criterion`."""
        return p95(one) < p95(other)

    def better(self, one: FinalistStatus, other: FinalistStatus) -> str:
        """See `Criterion`."""
        return f"faster as measured, {_latencies(one, other)}"

    def equal(self, one: FinalistStatus, other: FinalistStatus) -> str:  # noqa: ARG002 - their figures are alike
        """See `Criterion`."""
        return "as fast as measured"


class Accuracy(Criterion):
    """What is not lost against the source; without labels, how far the answers agree with its own.

    Both errors are known by themselves only, so the difference is held against that of two independent ones. They were
    asked the same samples, which makes the true one smaller: what is called a difference here is one.
    """

    name = "accuracy"

    def beats(self, one: FinalistStatus, other: FinalistStatus) -> bool:
        """See `Criterion`."""
        (value, error), (least, doubt) = _kept(one), _kept(other)
        return value - least > hypot(error, doubt)

    def better(self, one: FinalistStatus, other: FinalistStatus) -> str:
        """See `Criterion`."""
        return f"more accurate: {_scored(one)} where it has {_scored(other)}"

    def equal(self, one: FinalistStatus, other: FinalistStatus) -> str:
        """See `Criterion`."""
        if _kept(one)[0] == _kept(other)[0]:
            return "as accurate"
        return f"as accurate as the samples can tell ({_scored(one)} where it has {_scored(other)})"


class Size(Criterion):
    """The model layer: what goes over each node's link and stays on its disk."""

    name = "size"

    def beats(self, one: FinalistStatus, other: FinalistStatus) -> bool:
        """See `Criterion`."""
        return one.size < other.size

    def better(self, one: FinalistStatus, other: FinalistStatus) -> str:
        """See `Criterion`."""
        return f"smaller: {one.size} bytes where it has {other.size}"

    def equal(self, one: FinalistStatus, other: FinalistStatus) -> str:  # noqa: ARG002 - their figures are alike
        """See `Criterion`."""
        return "as small"


def noise_of(finalists: Iterable[FinalistStatus]) -> float:
    """The share by which two p95 latencies of one trial may differ and say nothing.

    A p95 of some ten runs is known no better than the runs are alike, so it is taken to be off by its distance to the
    median of its own runs, within bounds.

    Args:
        finalists: Those that are compared, each with what was measured of it.
    """
    return min(max((_unevenness(one) for one in finalists), default=LEAST_NOISE), MOST_NOISE)


def p95(one: FinalistStatus) -> float:
    """Milliseconds; endless where it was not measured."""
    return milliseconds(one.latency) if one.latency else inf


def milliseconds(text: str) -> float:
    """A duration as fields have it.

    Args:
        text: 3.214ms, say.
    """
    return parse_duration(text).total_seconds() * 1000


def _unevenness(one: FinalistStatus) -> float:
    """How far the p95 of its runs lies above their median; what is not known is taken to be much."""
    if not one.latency or not one.median or p95(one) == 0:
        return MOST_NOISE
    return max(1 - milliseconds(one.median) / p95(one), LEAST_NOISE)


def _kept(one: FinalistStatus) -> tuple[float, float]:
    """How accurate it is, on a scale that the finalists of a trial share, and how far that may be off."""
    if one.accuracy_drop is not None:
        return -_percentage(one.accuracy_drop), _percentage(one.accuracy_drop_error)
    if one.agreement is not None:
        return _percentage(one.agreement), _percentage(one.agreement_error)
    return 100.0, 0.0


def _scored(one: FinalistStatus) -> str:
    """What accuracy is judged by, in words."""
    if one.accuracy_drop is not None:
        return f"drop {_known(one.accuracy_drop, one.accuracy_drop_error)}"
    if one.agreement is not None:
        return f"agreement {_known(one.agreement, one.agreement_error)}"
    return "the source's own answers"


def _known(value: str, error: str | None) -> str:
    return f"{value} ± {error}" if error else value


def _latencies(one: FinalistStatus, other: FinalistStatus) -> str:
    return f"p95 {one.latency} where it has {other.latency or 'none'}"


def _percentage(text: str | None) -> float:
    return float(text.rstrip("%")) if text else 0.0
