"""How many samples a shift of meaning takes to be found, with the sketch of scores and without.

    python bench --only drift-found

The digits example: pictures of its evaluation set are drawn for a baseline and for a device, which after a ring of them
is asked a share that is changed in what it means and hardly in its figures. Samples are independent, and a ring is
counted in them.
"""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from row import Row

from edgesmith_runtime.drift.recording import baseline_of
from edgesmith_runtime.drift.watch import State, Watch
from edgesmith_runtime.engine import load_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgesmith_runtime.drift.baseline import Baseline

    Pictures = NDArray[np.float32]
    Asked = tuple[Pictures, Pictures]

DIGITS: Final = Path(__file__).resolve().parents[1] / "examples" / "digits"
BASELINE: Final = 400
BEFORE: Final = 3_600
"""Samples without a shift: a ring."""
MOST: Final = 7_200
"""Samples after which a shift is not found: two rings."""
_AT_ONCE: Final = 10


def measure_drift_found(*, rounds: int = 5) -> list[Row]:
    """Samples until drift, the median of some draws; a minute or two.

    Args:
        rounds: Draws of a baseline and of what the device is asked.
    """
    engine = load_engine("onnxruntime", DIGITS / "model.onnx", threads=1)
    pictures = np.load(DIGITS / "evaluation.npz")["image"]
    name = next(iter(engine.infer({"image": pictures[:1]})))

    def asked(of: Pictures) -> Asked:
        return of, np.concatenate([engine.infer({"image": one[np.newaxis]})[name] for one in of])

    usual, rows = asked(pictures), []
    baselines = [_baseline(usual, name, seed) for seed in range(rounds)]
    for shift, (share, change) in SHIFTS.items():
        other = asked(np.stack([change(one) for one in pictures]))
        for what, bare in (("with scores", False), ("without", True)):
            found = [
                _until(
                    Watch(replace(made, scores=None) if bare else made, 0.0), name, usual, other, share=share, seed=seed
                )
                for seed, made in enumerate(baselines)
            ]
            rows.append(Row(f"drift: samples until {shift} are found, {what}", statistics.median(found), "samples"))
    return rows


def _baseline(usual: Asked, name: str, seed: int) -> Baseline:
    which = np.random.default_rng([seed, 1]).integers(len(usual[0]), size=BASELINE)
    pairs = (({"image": usual[0][[one]]}, {name: usual[1][[one]]}) for one in which)
    made = baseline_of(pairs, {"image": 3}, seed="bench", classes=name)
    if made is None:
        raise SystemExit("there is no baseline: nothing is read of the samples")
    return made


def _mirrored(picture: Pictures) -> Pictures:
    return picture[:, :, ::-1].copy()


def _inside_fields(picture: Pictures) -> Pictures:
    """The pixels of each field of two by two in another order."""
    channels, lines, columns = picture.shape
    fields = picture.reshape(channels, lines // 2, 2, columns // 2, 2)
    return fields[:, :, ::-1, :, ::-1].reshape(picture.shape).copy()


SHIFTS: Final[dict[str, tuple[float, Callable[[Pictures], Pictures]]]] = {
    "digits of which a tenth is mirrored": (0.1, _mirrored),
    "digits of which a fifth is mirrored": (0.2, _mirrored),
    "digits of which half is turned within fields of 2 x 2": (0.5, _inside_fields),
}


def _until(watch: Watch, name: str, usual: Asked, other: Asked, *, share: float, seed: int) -> int:
    rng = np.random.default_rng([seed, 2])
    for seen in range(0, BEFORE + MOST, _AT_ONCE):
        which = rng.integers(len(usual[0]), size=_AT_ONCE)
        changed = (rng.random(_AT_ONCE) < share) & (seen >= BEFORE)
        pictures, answers = (
            np.where(changed.reshape(-1, *[1] * (ours.ndim - 1)), theirs[which], ours[which])
            for ours, theirs in zip(usual, other, strict=True)
        )
        watch.see({"image": pictures}, {name: answers}, float(seen))
        if watch.state is State.DRIFTED:
            return seen + _AT_ONCE - BEFORE
    return MOST
