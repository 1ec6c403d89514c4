"""Writes tickets as operators of machines do: short, hurried, misspelt, each in other words.

What a ticket says is made up of phrases, and every phrase is a function of the split's name and the ticket's number.
Some wordings occur in the evaluation set only: people find new ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FAULTS = ("bearing", "blockage", "electrical", "leak", "none", "sensor")
"""What is wrong, in the order of the model's answer."""
SPLITS = ("training", "calibration", "evaluation")

Strings = npt.NDArray[np.str_]
Labels = npt.NDArray[np.int64]

_MACHINES = (
    *("pump", "fan", "mixer", "conveyor", "compressor", "gearbox", "blower", "centrifuge", "extruder", "press"),
    *("agitator", "screen", "feeder", "chiller", "cooling pump", "main drive"),
)
_UNITS = ("P", "M", "K", "FB", "V")
_WHEN = ("", "", "", "since this morning", "after startup", "on night shift", "again", "for two days", "under load")
_WHO = ("", "", "", "", "reported by operator", "seen on the round", "shift B", "pls check", "urgent", "needs a look")
_HEDGES = ("no sign of", "not a", "ruled out", "no")

_WORDINGS = {
    "bearing": (
        *(
            "grinding noise at drive end",
            "bearing hot to touch",
            "vibration went up a lot",
            "rumbling from the bearing",
        ),
        *("shaft has play", "squealing when it turns", "bearing temperature high", "grease is black at the seal"),
        *(
            "knocking at low speed",
            "vibration alarm drive side",
            "metal chips in the grease",
            "howls when running down",
        ),
    ),
    "blockage": (
        *("no flow at the outlet", "suction strainer clogged", "filter full of dirt", "material stuck in the chute"),
        *("pressure before the filter high", "throughput dropped to half", "jammed by a piece of wood", "line plugged"),
        *("product builds up at the inlet", "low flow and it cavitates", "nozzle blocked", "screen is blinded"),
    ),
    "electrical": (
        *("breaker trips on start", "motor protection tripped", "fuse blown again", "burnt smell from the cabinet"),
        *("one phase is missing", "overcurrent fault on the drive", "does not start, contactor chatters"),
        *("cable insulation damaged", "earth fault alarm", "drive shows undervoltage", "terminal is scorched"),
        "motor hums and does not turn",
    ),
    "leak": (
        *("oil on the floor", "dripping from the seal", "water under the machine", "mechanical seal leaks"),
        *("flange is wet", "loses oil, refilled twice", "puddle at the base plate", "gasket is weeping"),
        *("coolant level drops", "spray from the hose", "drips at the drain plug", "packing needs tightening, drops"),
    ),
    "none": (
        *("routine check, all fine", "greased as planned", "oil changed on schedule", "inspection done, nothing found"),
        *("cleaned and back in service", "runs smooth", "readings normal", "noise was from next door"),
        *("weekly round without findings", "belt tension checked and ok", "test run passed", "no defect, closed"),
    ),
    "sensor": (
        *("reading jumps around", "temperature shows minus 200", "level signal frozen", "display says sensor fault"),
        *("pressure transmitter drifts", "no signal from the encoder", "value stuck at 100 percent"),
        *("proximity switch does not see the part", "reading does not match the gauge", "4-20 loop reads zero"),
        *("flow meter shows flow at standstill", "thermocouple broken"),
    ),
}
_NEW_WORDINGS = 2
"""How many wordings of each fault, the last ones, occur in the evaluation set only."""

_THINGS = {
    "bearing": ("vibration", "bearing noise", "play in the shaft"),
    "blockage": ("blockage", "clogging"),
    "electrical": ("trip", "electrical fault"),
    "leak": ("leak", "oil loss"),
    "sensor": ("sensor fault", "signal problem"),
}
_KEYS = {"a": "sq", "e": "wr", "i": "uo", "o": "ip", "n": "bm", "r": "et", "s": "ad", "t": "ry", "l": "k", "g": "fh"}


def make_set(split: str, count: int) -> tuple[Strings, Labels]:
    """Writes the first `count` tickets of a split.

    Returns:
        Tickets, shape (count,), and the fault of each as its place in `FAULTS`, shape (count,).

    Raises:
        ValueError: The split is not one of `SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    texts, labels = [], []
    for number in range(count):
        rng = np.random.default_rng([zlib.crc32(split.encode()), number])
        label = int(rng.integers(len(FAULTS)))
        texts.append(_ticket(FAULTS[label], rng, new=split == "evaluation"))
        labels.append(label)
    return np.array(texts), np.array(labels, np.int64)


def _ticket(fault: str, rng: np.random.Generator, *, new: bool) -> str:
    parts = [_machine(rng), _symptom(fault, rng, new=new)]
    if rng.random() < 0.2:
        parts.append(_symptom(fault, rng, new=new))
    if rng.random() < 0.3:  # what it is not
        other = _pick(sorted(set(_THINGS) - {fault}), rng)
        parts.append(f"{_pick(_HEDGES, rng)} {_pick(_THINGS[other], rng)}")
    if rng.random() < 0.12:  # what comes with it
        parts.append(_symptom(_pick(FAULTS, rng), rng, new=new))
    parts += [text for text in (_pick(_WHEN, rng), _pick(_WHO, rng)) if text]
    joined = _pick((", ", ", ", " - ", ". "), rng).join(parts)
    return _cased(" ".join(_misspelt(word, rng) for word in joined.split()), rng)


def _symptom(fault: str, rng: np.random.Generator, *, new: bool) -> str:
    known = _WORDINGS[fault]
    return _pick(known if new else known[:-_NEW_WORDINGS], rng)


def _machine(rng: np.random.Generator) -> str:
    name = _pick(_MACHINES, rng)
    unit = f"{_pick(_UNITS, rng)}-{rng.integers(101, 480)}"
    return _pick((f"{name} {unit}", unit, name, f"{name} {rng.integers(1, 9)}"), rng)


def _misspelt(word: str, rng: np.random.Generator) -> str:
    """One word in fourteen is mistyped, where it is long enough to be."""
    if len(word) < 4 or not word.isalpha() or rng.random() > 0.07:
        return word
    place = int(rng.integers(1, len(word) - 1))
    before, letter, after = word[:place], word[place], word[place + 1 :]
    swapped = f"{before}{after[0]}{letter}{after[1:]}"
    near = _pick(_KEYS.get(letter, letter), rng)
    return _pick((f"{before}{after}", f"{before}{letter}{letter}{after}", swapped, f"{before}{near}{after}"), rng)


def _cased(text: str, rng: np.random.Generator) -> str:
    return _pick((text, text, text[0].upper() + text[1:], text.upper()), rng)


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
