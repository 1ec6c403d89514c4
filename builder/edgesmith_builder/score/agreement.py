"""Agreement with the source: how much of what it says a candidate still says, without any label."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.interval import share_reach
from edgesmith_builder.score.asking import answers
from edgesmith_builder.score.known import Pair, channel_known, mean_known, places_known
from edgesmith_builder.score.source import Output, SourceAnswers
from edgesmith_runtime.engine import Engine

_STEP = 1 / 512
"""Half a step of eight bits over 0 to 1: of a channel of probabilities, less than this is nothing."""

_RELATIVE = 1e-3
"""A channel that varies by less than this share of its values counts as constant."""

_ENOUGH = 8
"""Values of a channel from which on their spread says what is usual for it."""


_ALIKE = 32
"""More channels than this, and nothing beside them: scores of classes or an embedding, which mean the same thing."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a candidate agrees with the source, where it agrees least."""

    value: float
    """From 0 to 1, to four digits."""
    where: str
    """Which output, and which part of it."""
    samples: int
    error: float
    """How far the value may be off, to four digits: its 95 % confidence interval reaches no further on either side."""


@dataclass(frozen=True, slots=True)
class _Found:
    """The agreement in one output."""

    value: float
    part: str
    """The part of it that agrees least, as the beginning of a sentence."""
    known: Callable[[], float]
    """How far the value may be off; asked where it is the least."""


@dataclass(frozen=True, slots=True)
class Same:
    """What scoring has found out already of one output: for how many samples both say the same class."""

    output: str
    share: float
    samples: int


def agreement(engine: Engine, source: SourceAnswers, same: Same | None = None) -> Agreement:
    """Hold a candidate's answers against the source's, output by output and channel by channel.

    - An output that says classes: the share of samples for which both say the same one. Where it says one at each of
      several places, it is the mean over the source's classes of the share of places at which both say it.
    - Other numbers: for every channel 1 minus the root of the mean square of the differences, as a share of the
      standard deviation of the source's values. Then 1 is equal and 0 is as far off as their mean: one minus the
      inverse of a signal-to-noise ratio, 0.9 is 20 dB. A channel that hardly varies is held against its values, one of
      probabilities against half a step of eight bits at least, one of many scores against the median of their
      deviations. One that is minus infinity where the other is a number is 0: it is off by more than any share.
    - Whole numbers, truth values and text: the share of elements that are equal; images of bytes are numbers.
    - An output whose size differs from sample to sample: the smaller number of elements as a share of the larger.

    Args:
        engine: The candidate.
        source: The source's answers.
        same: The output that the evaluation set is about, where it says classes: they were compared over the whole set.

    Returns:
        The least agreement.

    Raises:
        ScoreFailed: where the candidate does not answer with numbers.
    """
    given = list(answers(engine, source.samples, tuple(source.outputs), source.field))
    found: dict[str, _Found] = {}
    for name, output in source.outputs.items():
        if same is not None and same.output == name:
            found[name] = _of_share(same.share, same.samples)
        else:
            ours = [answer[name] for answer in source.answers]
            found[name] = _of_output(ours, [answer[name] for answer in given], output)
    name, least = min(found.items(), key=lambda one: round(one[1].value, 4))
    samples = same.samples if same is not None and same.output == name else len(source.answers)
    # Between 0 and 1, it cannot be off by more.
    error = min(least.known(), max(least.value, 1 - least.value))
    return Agreement(round(least.value, 4), f"{least.part}output {name!r}", samples, round(error, 4))


def _of_share(share: float, samples: int) -> _Found:
    return _Found(share, "the class of ", functools.partial(share_reach, share, samples))


def _of_mean(shares: Sequence[float], part: str) -> _Found:
    return _Found(float(np.mean(shares)), part, functools.partial(mean_known, shares))


def _of_output(ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]], output: Output) -> _Found:
    """The agreement in one output."""
    pairs = list(zip(ours, theirs, strict=True))
    if output.open or any(a.shape != b.shape for a, b in pairs):
        shares = [min(a.size, b.size) / max(a.size, b.size) if a.size != b.size else 1.0 for a, b in pairs]
        return _of_mean(shares, "the number of elements of ")
    if ours[0].size == 0:
        return _of_mean([1.0 for _ in pairs], "")
    if output.classes:
        return _of_share(float(np.mean([int(a.argmax()) == int(b.argmax()) for a, b in pairs])), len(pairs))
    if output.places is not None:
        return _of_places(pairs, output.places)
    if ours[0].dtype.kind == "f" or (ours[0].dtype.kind in "iu" and ours[0].itemsize == 1):
        channels, least = _of_channels(pairs, output)
        worst = int(np.argmin(channels))
        known = functools.partial(channel_known, pairs, output.layout, worst, float(least[worst]))
        return _Found(float(channels[worst]), f"channel {worst} of " if len(channels) > 1 else "", known)
    return _of_mean([float(np.mean(a == b)) for a, b in pairs], "the elements of ")


def _of_places(pairs: Sequence[Pair], axis: int) -> _Found:
    """Each class counts alike: most places of a line or an image say that there is nothing."""
    size = pairs[0][0].shape[axis]
    said, same = (np.zeros((len(pairs), size)) for _ in range(2))
    for sample, pair in enumerate(pairs):
        ours, theirs = (array.argmax(axis).ravel() for array in pair)
        said[sample] = np.bincount(ours, minlength=size)
        same[sample] = np.bincount(ours[ours == theirs], minlength=size)
    places = said.sum(axis=0)
    there = places > 0
    value = float(np.mean(same.sum(axis=0)[there] / places[there]))
    known = functools.partial(places_known, said[:, there], same[:, there])
    return _Found(value, "the class at each place of ", known)


def _of_channels(pairs: Sequence[Pair], output: Output) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`[channels]`, the agreement in each, and what its deviation counts as at least."""
    channels = output.layout.channels
    count, total, square, wrong = (np.zeros(channels) for _ in range(4))
    unit, apart = np.ones(channels, bool), np.zeros(channels, bool)
    mean = np.zeros(channels)
    for round_ in range(2):  # the mean first, so that no precision is lost in the squares
        for ours, theirs in pairs:
            a, b = (output.layout.rows(array).astype(np.float64) for array in (ours, theirs))
            fine = np.isfinite(a) & np.isfinite(b)
            if round_ == 0:
                apart |= (np.isfinite(a) != np.isfinite(b)).any(axis=1)
                count += fine.sum(axis=1)
                total += np.where(fine, a, 0).sum(axis=1)
                unit &= (~fine | ((a >= 0) & (a <= 1))).all(axis=1)
            else:
                with np.errstate(invalid="ignore"):
                    square += np.where(fine, (a - mean[:, None]) ** 2, 0).sum(axis=1)
                    wrong += np.where(fine, (a - b) ** 2, 0).sum(axis=1)
        mean = total / np.maximum(count, 1)
    count = np.maximum(count, 1)
    deviation, size = np.sqrt(square / count), np.sqrt(square / count + mean**2)
    least = np.maximum(np.where(count < _ENOUGH, size, _RELATIVE * size), np.where(unit, _STEP, np.finfo(float).tiny))
    if channels > _ALIKE and pairs[0][0].size == channels:
        least = np.maximum(least, sorted(deviation.tolist())[channels // 2])
    agreed = np.clip(1 - np.sqrt(wrong / count) / np.maximum(deviation, least), 0, 1)
    return np.where(apart, 0.0, agreed), least
