"""What choosing samples saves on the surface inspection, and what serving pays for it.

The camera was turned: darker, softer. A line of plates of which few are faulty is seen by the model as it was; its last
layer is then taught again with what was sent home, once with the chosen samples and once with as many at random, with
the labels that a person would give them.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from row import Row

from edgesmith_runtime.sampling.choosing import Chooser, Offer
from edgesmith_runtime.sampling.likeness import Likeness
from edgesmith_runtime.sampling.sample import Facts, pack
from edgesmith_runtime.sampling.scores import uncertainty
from edgesmith_stage.shell import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

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
    features: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


def measure_filtering() -> list[Row]:
    """Bytes and accuracy; some two minutes."""
    sys.path.insert(0, str(EXAMPLE))
    session, head = _opened(EXAMPLE / "model.onnx")
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


def _opened(model: Path) -> tuple[onnxruntime.InferenceSession, tuple[Any, Any]]:
    """The model with what its last layer is given as an output more, and that layer's weights."""
    loaded = onnx.load(model)
    dense = next(node for node in reversed(loaded.graph.node) if node.op_type in ("Gemm", "MatMul"))
    stored = {one.name: numpy_helper.to_array(one) for one in loaded.graph.initializer}
    weight = stored[dense.input[1]]
    flipped = any(one.name == "transB" and one.i for one in dense.attribute)
    bias = stored[dense.input[2]] if len(dense.input) > 2 else np.zeros(weight.shape[-1])
    loaded.graph.output.append(onnx.helper.make_tensor_value_info(dense.input[0], onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(loaded.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, ((weight.T if flipped else weight).astype(np.float64), bias.astype(np.float64))


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
    images, labels = plates
    answers = [session.run(None, {"image": images[first : first + 64]}) for first in range(0, len(images), 64)]
    scores, features = (np.concatenate([answer[place] for answer in answers]) for place in (0, 1))
    return Seen(images, features.reshape(len(images), -1), scores, labels)


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


def _taught(
    head: tuple[Any, Any], before: Seen, line: Seen, rows: NDArray[np.int64], steps: int = 200
) -> tuple[Any, Any]:
    """The last layer taught again with what was known before and what was sent."""
    features = np.concatenate([before.features, line.features[rows]]).astype(np.float64)
    labels = np.concatenate([before.labels, line.labels[rows]])
    # A sample that was sent counts three times one that was known, and each class among them as much as any other.
    counts = np.bincount(line.labels[rows], minlength=len(head[1]))
    sent = 3 * len(rows) / (len(counts) * counts[line.labels[rows]])
    weights = np.concatenate([np.ones(BEFORE), sent * min(1.0, SENT * PLATES / len(rows))])
    weights /= weights.sum()
    middle, spread = features.mean(0), features.std(0) + 1e-6
    scaled = (features - middle) / spread
    weight, bias = head[0] * spread[:, None], head[1] + middle @ head[0]
    first, pull = weight.copy(), 1e-3
    wanted = np.eye(len(bias))[labels]
    velocity_w, velocity_b = np.zeros_like(weight), np.zeros_like(bias)
    for _ in range(steps):
        logits = scaled @ weight + bias
        odds = np.exp(logits - logits.max(1, keepdims=True))
        error = (odds / odds.sum(1, keepdims=True) - wanted) * weights[:, None]
        velocity_w = 0.9 * velocity_w - 0.2 * (scaled.T @ error + pull * (weight - first))
        velocity_b = 0.9 * velocity_b - 0.2 * error.sum(0)
        weight, bias = weight + velocity_w, bias + velocity_b
    taught = weight / spread[:, None]
    return taught, bias - middle @ taught


def _accuracy(head: tuple[Any, Any], test: Seen) -> float:
    return float(((test.features @ head[0] + head[1]).argmax(1) == test.labels).mean())
