"""What choosing samples saves on the surface inspection, and what serving pays for it.

The camera was turned: darker, softer. A line of plates of which few are faulty is seen by the model as it was; its last
layer is then taught again with what was sent home, once with the chosen samples and once with as many at random, with
the labels that a person would give them.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
from row import Row

from edgesmith_runtime.sampling.choosing import Chooser, Offer
from edgesmith_runtime.sampling.likeness import Likeness
from edgesmith_runtime.sampling.sample import Facts, pack
from edgesmith_runtime.sampling.scores import uncertainty
from edgesmith_stage.shell import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from retrain import Head

EXAMPLE = ROOT / "examples" / "surface-inspection"
SEEDS = 3
PLATES = 2500
"""Plates that pass the camera, in a day."""
FAULTY = 0.06
SENT = 0.04
"""The share of them that the day's bytes are for."""
TEST, BEFORE = 600, 800
DAY = 86_400.0


@dataclass(frozen=True)
class Seen:
    """Plates as the model sees them."""

    images: NDArray[np.float32]
    features: NDArray[np.float64]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


def measure_filtering() -> list[Row]:
    """Bytes and accuracy; some two minutes."""
    sys.path.insert(0, str(EXAMPLE))
    from retrain import opened  # noqa: PLC0415 - a script of the example

    session, head = opened(onnx.load(EXAMPLE / "model.onnx"))
    before = _seen(session, _pictures(range(BEFORE), shifted=False, balanced=True, stream=1))
    found: dict[str, list[float]] = {"as it was": [], "random": [], "chosen": [], "all": []}
    bytes_, shares = [], []
    for seed in range(SEEDS):
        line = _seen(session, _pictures(range(PLATES), shifted=True, balanced=False, stream=100 + seed))
        test = _seen(session, _pictures(range(TEST), shifted=True, balanced=True, stream=200 + seed))
        chosen, sent, everything = _chosen(line, before, seed)
        chance = np.random.default_rng(seed)
        picks = {
            "as it was": np.zeros(0, np.int64),
            "random": chance.choice(PLATES, len(chosen), replace=False),
            "chosen": chosen,
            "all": np.arange(PLATES),
        }
        for name, rows in picks.items():
            taught = head if not len(rows) else _taught(head, before, line, rows)
            found[name].append(_accuracy(taught, test))
        bytes_.append(sent / everything)
        shares.append(len(chosen) / PLATES)
    return _rows(found, bytes_, shares)


def _rows(found: Mapping[str, list[float]], bytes_: list[float], shares: list[float]) -> list[Row]:
    means = {name: statistics.fmean(values) for name, values in found.items()}
    rows = [
        Row("samples: bytes sent", statistics.fmean(bytes_), "share", "all plates, packed alike", None),
        Row("samples: plates sent", statistics.fmean(shares), "share", "all plates", None),
    ]
    for name, mean in means.items():
        spread = statistics.stdev(found[name]) / len(found[name]) ** 0.5
        rows.append(Row(f"samples: accuracy, {name}", mean, "", f"± {2 * spread:.4f}", None))
    gains = [c - r for c, r in zip(found["chosen"], found["random"], strict=True)]
    spread = statistics.stdev(gains) / len(gains) ** 0.5
    gain = means["chosen"] - means["as it was"]
    against = means["random"] - means["as it was"]
    rows.append(
        Row(
            "samples: accuracy gained, chosen",
            gain,
            "",
            f"random {against:.4f}, apart by ± {2 * spread:.4f}",
            gain / against,
        )
    )
    return rows


def _pictures(
    numbers: range, *, shifted: bool, balanced: bool, stream: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from parts import LABELS, draw  # noqa: PLC0415 - a script of the example

    images = np.empty((len(numbers), 1, 64, 64), np.float32)
    labels = np.empty(len(numbers), np.int64)
    for number in numbers:
        chance = np.random.default_rng([77, stream, number])
        fault = balanced or chance.random() < FAULTY
        labels[number] = number % len(LABELS) if balanced else (1 + chance.integers(3) if fault else 0)
        images[number, 0] = draw(int(labels[number]), chance)
    return (_shifted(images) if shifted else images), labels


def _shifted(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Darker and softer."""
    soft = (images + np.roll(images, 1, -1) + np.roll(images, 1, -2) + np.roll(images, (1, 1), (-2, -1))) / 4
    seen = 0.6 * soft + 0.4 * images
    shifted: NDArray[np.float32] = np.clip(255 * (seen / 255) ** 1.25 * 0.9, 0, 252).round().astype(np.float32)
    return shifted


def _seen(session: onnxruntime.InferenceSession, plates: tuple[NDArray[np.float32], NDArray[np.int64]]) -> Seen:
    from retrain import answered  # noqa: PLC0415 - a script of the example

    images, labels = plates
    scores, features = answered(session, images)
    return Seen(images, features, scores, labels)


def _chosen(line: Seen, before: Seen, seed: int) -> tuple[NDArray[np.int64], int, int]:
    """The numbers of the plates that a node sends in a day, their bytes, and those of all."""
    facts = Facts(
        "surface-inspection", "0" * 64, "fp32", "edge-1", "Uncertain", 1, 0.5, None, True, 0.0, "", 0.0, False
    )
    sizes = [len(pack(facts, {"image": image[None]}, {"probabilities": score[None]}))
             for image, score in zip(line.images, line.scores, strict=True)]  # fmt: skip
    rate = SENT * sum(sizes) / DAY
    golden = [{"image": image[None]} for image in before.images[:32]]
    chooser = Chooser(dict.fromkeys(("Uncertain", "Random"), rate / 2), Likeness(golden), seed=seed, now=0.0)
    scores, number, found, sent = uncertainty(line.scores), -1, list[int](), 0
    for number in range(len(sizes)):
        now = number * DAY / len(sizes)
        while (choice := chooser.ended(now)) is not None:
            plate = int(choice.outputs["number"][0])
            chooser.taken(choice, sizes[plate], now)
            sent += sizes[plate]
            found.append(plate)
        rows = slice(number, number + 1)
        chooser.offer(Offer({"image": line.images[rows]}, {"number": np.array([number])}, 1, scores[rows]))
    return np.array(sorted(set(found))), sent, sum(sizes)


def _taught(head: Head, before: Seen, line: Seen, rows: NDArray[np.int64]) -> Head:
    """The last layer taught again with what was known before and what was sent."""
    from retrain import taught  # noqa: PLC0415 - a script of the example

    features = np.concatenate([before.features, line.features[rows]])
    labels = np.concatenate([before.labels, line.labels[rows]])
    # A sample that was sent counts three times one that was known, and each class among them as much as any other.
    counts = np.bincount(line.labels[rows], minlength=len(head.bias))
    sent = 3 * len(rows) / (len(counts) * counts[line.labels[rows]])
    weights = np.concatenate([np.ones(BEFORE), sent * min(1.0, SENT * PLATES / len(rows))])
    return taught(head, features, labels, weights)


def _accuracy(head: Head, test: Seen) -> float:
    return float(((test.features @ head.weight + head.bias).argmax(1) == test.labels).mean())
