"""A voice out of numbers: pulses through the resonances of a mouth, hissed consonants between, quiet before and after.

Resonances of vowels are those that Peterson and Barney measured of men (J. Acoust. Soc. Am. 24, 1952, 175-184).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

RATE = 16_000
"""Samples a second."""
FRAME, CONTEXT = 512, 64
"""Samples that Silero VAD hears at a time, and those before them that it wants to hear again."""

Sound = NDArray[np.float32]

_VOWELS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
_WIDTHS = (80, 100, 120)


def recording(seed: int, *, pitch: float) -> tuple[Sound, NDArray[np.bool_]]:
    """Quiet, five syllables, quiet.

    Args:
        seed: Of what is said.
        pitch: Of the voice, Hz.

    Returns:
        Samples from -1 to 1, shape (count,), and whether each is of the voice.
    """
    rng = np.random.default_rng(seed)
    parts: list[tuple[NDArray[Any], bool]] = [(_noise(0.5, rng), False)]
    for _ in range(5):
        parts.append((_hiss(rng.uniform(0.04, 0.09), rng), True))
        parts.append(
            (_vowel(str(rng.choice([*_VOWELS])), rng.uniform(0.12, 0.25), pitch * rng.uniform(0.9, 1.15), rng), True)
        )
    parts.append((_noise(0.8, rng), False))
    sound = np.concatenate([samples for samples, _ in parts]).astype(np.float32)
    return sound, np.concatenate([np.full(len(samples), voice) for samples, voice in parts])


def frames(sound: Sound) -> Sound:
    """The pieces that are sent, each behind the end of the one before, shape (count, CONTEXT + FRAME)."""
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
    starts = range(0, len(sound) - FRAME + 1, FRAME)
    return np.stack([padded[start : start + CONTEXT + FRAME] for start in starts])


def spoken(voice: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the larger part of each piece is of the voice, shape (count,)."""
    whole = voice[: len(voice) // FRAME * FRAME].reshape(-1, FRAME)
    found: NDArray[np.bool_] = whole.mean(1) > 0.5
    return found


def _noise(seconds: float, rng: np.random.Generator) -> NDArray[Any]:
    return 0.003 * rng.normal(size=int(seconds * RATE))


def _hiss(seconds: float, rng: np.random.Generator) -> NDArray[Any]:
    count = int(seconds * RATE)
    return np.asarray(lfilter([1, -0.9], [1], rng.normal(size=count)) * 0.02 * np.hanning(count))


def _vowel(name: str, seconds: float, pitch: float, rng: np.random.Generator) -> NDArray[Any]:
    time = np.arange(int(seconds * RATE)) / RATE
    tone = pitch * (1 + 0.08 * np.sin(2 * np.pi * 3 * time)) * (1 - 0.15 * time / seconds)
    pulses = np.diff(np.floor(np.cumsum(tone) / RATE), prepend=0)
    sound = lfilter([1], [1, -0.95], pulses) + 0.003 * rng.normal(size=len(time))
    for resonance, width in zip(_VOWELS[name], _WIDTHS, strict=True):
        radius, angle = np.exp(-np.pi * width / RATE), 2 * np.pi * resonance / RATE
        turn = 2 * radius * np.cos(angle)
        sound = lfilter([1 - turn + radius**2], [1, -turn, radius**2], sound)
    ends = np.minimum(1, np.minimum(time / 0.03, (seconds - time) / 0.05))
    return np.asarray(0.3 * sound / np.abs(sound).max() * ends)
