"""Calibrated ranges that come out the same on another machine.

A range is the smallest and largest value a tensor took over the calibration set. Its last bits depend on the order in
which the processor's vector units sum, so AVX2, AVX-512 and NEON disagree in about the sixth digit. A scale made from
that would differ, the model's bytes with it, and with them the image's digest. So each bound is moved outward, away
from zero, to the next number with six significant bits: at most 3.2 % of the range, a twentieth of a bit.

Rounding only moves the problem to the numbers where it jumps, and those are where exact values like to lie (0.5, 1, 6).
So the jump is shifted: a value up to 2^-12 above such a number still counts as it. Whole numbers up to 255, which
need more bits but come up in images, are kept in the same way. What is left is chance: two
machines that differ by 1e-6 disagree on one bound in some 20,000, and then the digest differs and nothing else.
"""

from __future__ import annotations

import math

STEPS = 1 << 6
"""Numbers between one power of two and the next, counted from zero: six significant bits."""

SLACK = 2.0**-12
"""What a value may lie above one of them, relatively, and still count as it."""


WHOLE = 255
"""Up to here whole numbers stay."""


def outward(value: float) -> float:
    """Move a bound away from zero to the next number with six significant bits; see the module for why."""
    if not math.isfinite(value) or value == 0.0:
        return value
    whole = round(abs(value))
    if 0 < whole <= WHOLE and abs(abs(value) - whole) <= SLACK * whole:
        return math.copysign(whole, value)
    mantissa, exponent = math.frexp(abs(value))
    steps = math.ceil(mantissa * (1.0 - SLACK) * STEPS)
    return math.copysign(math.ldexp(steps / STEPS, exponent), value)


def stable(lowest: float, highest: float) -> tuple[float, float]:
    """A range that holds the given one and zero, with stable bounds. Quantisation needs zero in it in any case."""
    return outward(min(0.0, lowest)), outward(max(0.0, highest))
