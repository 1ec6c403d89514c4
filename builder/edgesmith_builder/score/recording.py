"""Golden answers: what the winner says to the golden samples, and how far a device may be off, element by element."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesmith_builder.dataset import Samples
from edgesmith_builder.score.asking import Answer, ScoreFailed, check_numbers
from edgesmith_builder.score.channels import Layout, extent
from edgesmith_builder.score.source import Output
from edgesmith_builder.score.two_ways import OtherWay, apart, difference
from edgesmith_runtime.engine import Engine, EngineError
from edgesmith_runtime.golden import UNCOMPARED, Answers, Golden, places

log = logging.getLogger(__name__)

FLOOR = {"fp32": -10, "fp16": -8}
"""The least tolerance of an element as a power of two, times its channel's range: a thousandth in fp32. Half of it is
taken by the grid that answers are rounded to, so that the last bits, in which processors differ, do not reach the
image; what is left is a thousand times the 5e-7 that kernels were measured to differ by. In fp16, whose numbers have 11
bits and which a GPU rounds at other places than the machine that builds, four thousandths."""

FLOOR_INT = -7
"""The same for number types of eight bits: two of 256 steps, for a rounding that falls the other way. Kernels in whole
numbers were measured not to differ at all."""

MARGIN = 8
"""An element may differ by this many times what two ways of computing the golden samples differ by on the machine that
builds."""

WIDE_MARGIN = 2
"""And by this many times the most that they differ by over more samples: a maximum of tens needs less room."""

ROOM = 8 * 1024
"""Bytes that answers may have however small the model is, before they are compressed."""

_NOISE = 1 / 8
"""But by no more than this part of its channel's range: an answer that two correct runs do not share says nothing, and
the bundle's replay on the machine that builds is to fail."""

_ULPS = 64
"""And by this many times the last bit of the largest number of its channel, which sums of 32-bit floats end in."""

_SHARE = 64
"""And this part of the model's bytes besides."""

_ELEMENT = 6
"""Bytes of an element: a float and its tolerance."""


def record(
    engine: Engine,
    inputs: Samples,
    *,
    other: OtherWay,
    more: Samples | None,
    known: Mapping[str, Output],
    precision: str,
    model_size: int,
) -> Golden:
    """Ask the winner, one sample at a time, and write down what it says.

    Args:
        engine: The winner.
        inputs: The golden inputs.
        other: Its answers computed in another way, where there is one.
        more: A set of which some samples are computed in both ways too; None for none.
        known: What is known of the source's outputs: the ranges of their channels.
        precision: Of the winner.
        model_size: Bytes of its file; long answers are kept in part.

    Raises:
        ScoreFailed: where it does not answer with numbers.
    """
    given: list[Answer] = []
    for index in range(len(inputs)):
        try:
            given.append(engine.infer(inputs.feed(index)))
        except EngineError as error:
            raise ScoreFailed(f"golden sample {index} is not answered: {error}") from error
    for index, answer in enumerate(given):
        for name, array in answer.items():
            check_numbers(array, name, f"golden sample {index}")
    others = other(inputs)
    wide = apart(engine, other, more, given[0]) if others is not None and more is not None else {}
    names = _steady(given, others)
    counts = _shares({name: [answer[name].size for answer in given] for name in names}, model_size)
    floor = FLOOR.get(precision, FLOOR_INT)
    outputs = {}
    for name in names:
        ours = [answer[name] for answer in given]
        theirs = [answer[name] for answer in others] if others is not None else ours
        outputs[name] = _answers(ours, _exponents(ours, theirs, wide.get(name, ()), known[name], floor), counts[name])
    return Golden(inputs.inputs, outputs)


def _steady(given: Sequence[Answer], others: Sequence[Answer] | None) -> list[str]:
    """The outputs whose shape does not depend on how they are computed; all, where none is left."""
    steady = [
        name
        for name in given[0]
        if len({answer[name].ndim for answer in given}) == 1
        and (others is None or all(a[name].shape == b[name].shape for a, b in zip(given, others, strict=True)))
    ]
    for name in given[0]:
        if name not in steady:
            log.warning("the size of output %r depends on the last bits; golden samples do not hold it", name)
    if not steady:
        raise ScoreFailed("the size of every output depends on the last bits of floating-point sums")
    return steady


def _shares(sizes: Mapping[str, Sequence[int]], model_size: int) -> dict[str, list[int]]:
    """How many elements of each answer are kept: small outputs whole, the others share what is left."""
    left = (ROOM + model_size // _SHARE) // _ELEMENT
    kept: dict[str, list[int]] = {}
    for done, name in enumerate(sorted(sizes, key=lambda name: (sum(sizes[name]), name))):
        share = max(1, left // (len(sizes) - done) // len(sizes[name]))
        kept[name] = [min(size, share) for size in sizes[name]]
        left -= sum(kept[name])
    return kept


def _exponents(
    ours: Sequence[NDArray[Any]],
    theirs: Sequence[NDArray[Any]],
    wide: Sequence[NDArray[np.float64]],
    known: Output,
    floor: int,
) -> list[NDArray[np.int64]]:
    """The tolerance of every element of every answer, flat, as a power of two."""
    if ours[0].dtype.kind not in "biuf":
        return [np.zeros(answer.size, np.int64) for answer in ours]
    layout = known.layout if all(_fits(known.layout, answer) for answer in ours) else Layout((), ())
    lowest, highest = extent(layout, ours)
    seen = np.isfinite(highest)
    spans = np.where(seen, highest - lowest, 0.0)
    if known.layout == layout:
        spans = np.maximum(spans, known.spans)
    sizes = np.where(seen, np.maximum(np.abs(lowest), np.abs(highest)), 0.0)
    # A channel that is constant has no range: the output's, its value, or 1, in this order.
    whole = float(highest[seen].max() - lowest[seen].min()) if seen.any() else 0.0
    usual = np.where(spans > 0, spans, whole if whole > 0 else np.where(sizes > 0, sizes, 1.0))
    differences = extent(layout, [difference(a, b) for a, b in zip(ours, theirs, strict=True)])[1]
    elsewhere = extent(layout, [one for one in wide if _fits(layout, one)])[1]
    doubt = np.maximum(MARGIN * _finite(differences), WIDE_MARGIN * _finite(elsewhere))
    own = np.finfo(ours[0].dtype).eps if ours[0].dtype.kind == "f" else 0.0
    allowed = np.maximum.reduce(
        [
            np.ldexp(usual, floor),
            np.minimum(doubt, usual * _NOISE),
            sizes * max(_ULPS * float(np.finfo(np.float32).eps), 2 * float(own)),
        ]
    )
    exponents = np.ceil(np.log2(allowed)).astype(np.int64)
    return [
        np.where(np.isfinite(_float(answer)).reshape(-1), exponents[layout.numbers(answer.shape)], UNCOMPARED)
        for answer in ours
    ]


def _finite(found: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(found), found, 0.0)


def _float(answer: NDArray[Any]) -> NDArray[np.float64]:
    return answer.astype(np.float64)


def _fits(layout: Layout, answer: NDArray[Any]) -> bool:
    return all(
        axis < answer.ndim and answer.shape[axis] == size for axis, size in zip(layout.axes, layout.sizes, strict=True)
    )


def _answers(ours: Sequence[NDArray[Any]], exponents: Sequence[NDArray[np.int64]], counts: Sequence[int]) -> Answers:
    values, tolerances = [], []
    for sample, (answer, powers, count) in enumerate(zip(ours, exponents, counts, strict=True)):
        where = places(answer.size, count, sample)
        chosen = answer.reshape(-1)[where]
        values.append(on_grid(chosen, powers[where]) if chosen.dtype.kind == "f" else chosen)
        tolerances.append(powers[where])
    return Answers(
        np.array([answer.shape for answer in ours], np.int64),
        np.array(counts, np.int64),
        np.concatenate(values),
        np.concatenate(tolerances).astype(np.int16),
    )


def on_grid(values: NDArray[Any], exponents: NDArray[np.int64]) -> NDArray[Any]:
    """Round each value to a multiple of its tolerance, a power of two, which does not wobble itself."""
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.ldexp(1.0, np.minimum(exponents, 1000))
        rounded = np.where(np.isfinite(values), np.round(values.astype(np.float64) / steps) * steps, values)
    whole: NDArray[Any] = rounded.astype(values.dtype)
    whole += values.dtype.type(0.0)  # no negative zeros
    return whole
