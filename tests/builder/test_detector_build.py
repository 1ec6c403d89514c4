"""A small detector with non-maximum suppression within, through a whole build: int8 held to gates on mAP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from candidates import FLOAT, built, made, node
from numpy.typing import NDArray

from edgesmith_builder.contract import Gates

SIDE, STEP, PICTURE = 8, 4, 32
"""Pixels: of a thing, between two places that are looked at, of a picture."""
CORNERS = [(x, y) for y in range(0, PICTURE - SIDE + 1, STEP) for x in range(0, PICTURE - SIDE + 1, STEP)]
PLACES = np.array([(x, y, x + SIDE, y + SIDE) for x, y in CORNERS], np.float32)
KINDS = (1.0, -1.0)
"""Bright things and dark ones, two classes."""
METRIC: dict[str, Any] = {"metric": "MeanAveragePrecision"}


def detector() -> onnx.ModelProto:
    """Looks at 49 overlapping places: the mean brightness of each, either way, says whether a thing is there."""
    rng = np.random.default_rng(3)
    gains = rng.uniform(0.5, 1.5, 8).astype(np.float32)
    signs = np.tile(np.array(KINDS, np.float32), 4)
    stem = np.zeros((8, 1, 3, 3), np.float32)
    stem[:, 0, 1, 1] = gains * signs
    head = np.zeros((2, 8, SIDE, SIDE), np.float32)
    for kind, sign in enumerate(KINDS):
        head[kind, signs == sign] = (12 / SIDE**2 / gains[signs == sign].sum()) * np.ones((SIDE, SIDE), np.float32)
    weights: dict[str, NDArray[Any]] = {
        "stem": stem,
        "head": head,
        "bias": np.full(2, -6.0, np.float32),
        "flat": np.array([1, 2, len(PLACES)]),
        "places": PLACES,
        "places1": PLACES[None],
        "most": np.array([6]),
        "overlap": np.array([0.2], np.float32),
        "sure": np.array([0.15], np.float32),
        "one": np.array(1),
        "two": np.array(2),
        "last": np.array([1]),
    }
    nodes = [
        *(node("Conv", ["image", "stem"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["r"])),
        node("Conv", ["r", "head", "bias"], ["logits"], strides=[STEP, STEP]),
        *(node("Sigmoid", ["logits"], ["sure_of"]), node("Reshape", ["sure_of", "flat"], ["scores"])),
        node("NonMaxSuppression", ["places1", "scores", "most", "overlap", "sure"], ["kept"]),
        *(node("Gather", ["kept", "one"], ["kind"], axis=1), node("Gather", ["kept", "two"], ["place"], axis=1)),
        node("Gather", ["places", "place"], ["corners"], axis=0),
        *(node("GatherND", ["scores", "kept"], ["score"]), node("Unsqueeze", ["score", "last"], ["score1"])),
        *(node("Unsqueeze", ["kind", "last"], ["kind1"]), node("Cast", ["kind1"], ["class"], to=FLOAT)),
        node("Concat", ["corners", "score1", "class"], ["boxes"], axis=1),
    ]
    sides = [("image", FLOAT, [1, 1, PICTURE, PICTURE])], [("boxes", FLOAT, ["found", 6])]
    return made(nodes, *sides, weights)


def seen(count: int, seed: int, *, scale: float = 1.0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Noisy pictures with one to three things each, some of them faint, and where these are."""
    rng = np.random.default_rng(seed)
    pictures = rng.normal(0, 0.25, (count, 1, PICTURE, PICTURE))
    labels = np.full((count, 3, 5), -1.0)
    for picture, label in zip(pictures, labels, strict=True):
        cells = rng.permutation(16)[: rng.integers(1, 4)]
        for row, cell in zip(label, cells, strict=False):
            x, y, kind = (cell % 4) * SIDE, (cell // 4) * SIDE, rng.integers(2)
            picture[0, y : y + SIDE, x : x + SIDE] += KINDS[kind] * rng.uniform(0.3, 1.1)
            row[:] = (x, y, x + SIDE, y + SIDE, kind)
    return (pictures * scale).astype(np.float32), labels.astype(np.float32)


EVALUATION = dict(zip(("image", "labels"), seen(200, seed=1), strict=True))


def test_an_int8_detector_keeps_its_mean_average_precision(tmp_path: Path) -> None:
    gates = Gates(min_accuracy=0.6, max_accuracy_drop=0.05)
    found = built(tmp_path, detector(), {"image": seen(64, seed=2)[0]}, EVALUATION, gates=gates, **METRIC)
    int8, fp32 = found.candidates
    assert found.winner.candidate.precision == int8.precision == "int8"
    assert int8.accuracy is not None
    assert fp32.accuracy is not None
    assert 0.6 < fp32.accuracy < 1, "some things are too faint"
    assert int8.accuracy_drop == pytest.approx(fp32.accuracy - int8.accuracy, abs=1e-5)
    assert 0 < (int8.accuracy_drop_error or 0) < 0.05
    assert 0 < (int8.accuracy_error or 0) < 0.2


def test_one_that_lost_its_eye_for_faint_things_is_refused_by_its_gate(tmp_path: Path) -> None:
    """Calibrated with pictures a hundred times as bright: eight bits of these have few steps for what is there."""
    gates = Gates(max_accuracy_drop=0.05)
    blinding = {"image": seen(64, seed=2, scale=100.0)[0]}
    found = built(tmp_path, detector(), blinding, EVALUATION, gates=gates, **METRIC)
    assert found.winner.candidate.precision == "fp32"
    (int8,) = [one for one in found.candidates if one.precision == "int8"]
    assert (int8.accuracy_drop or 0) > 0.05
    assert "mAP@0.5" in (int8.rejected or "")
    assert "spec.gates.maxAccuracyDrop" in (int8.rejected or "")


def test_a_detector_below_its_gate_has_no_candidate(tmp_path: Path) -> None:
    found = built(
        tmp_path, detector(), None, EVALUATION, gates=Gates(min_accuracy=0.999), precisions=("fp32",), **METRIC
    )
    (fp32,) = found.candidates
    assert found.finalists == ()
    assert "spec.gates.minAccuracy" in (fp32.rejected or "")
