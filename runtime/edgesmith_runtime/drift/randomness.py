"""Random numbers that are the same on every machine and with every NumPy: SHAKE-256 of a seed, by Box and Muller."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["normals", "uniforms"]


def uniforms(seed: str, what: str, count: int) -> NDArray[np.float64]:
    """Numbers above 0 and below 1, spread evenly.

    Args:
        seed: Of all of them.
        what: What they are for: another word, other numbers.
        count: How many.
    """
    drawn = hashlib.shake_256(f"{seed} {what}".encode()).digest(4 * count)
    return (np.frombuffer(drawn, "<u4").astype(np.float64) + 0.5) / 2**32


def normals(seed: str, what: str, count: int) -> NDArray[np.float64]:
    """Numbers of the standard normal distribution; see `uniforms`."""
    pairs = (count + 1) // 2
    drawn = uniforms(seed, what, 2 * pairs)
    length, angle = np.sqrt(-2 * np.log(drawn[:pairs])), 2 * np.pi * drawn[pairs:]
    return np.concatenate([length * np.cos(angle), length * np.sin(angle)])[:count]
