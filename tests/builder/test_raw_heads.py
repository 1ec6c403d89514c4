"""Detectors with raw heads: mean average precision over the boxes that a server answers by what is declared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from candidates import FLOAT, asked, built, made, node
from numpy.typing import NDArray
from pictures import BOXES, DETECTED, named_way, seen_outputs, ways

from edgesmith_builder.contract import Classification, Detection, Gates, Picture
from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import DatasetMismatch, RequestInvalid
from edgesmith_builder.metric import Evaluation, metric_of
from edgesmith_builder.score import ScoreFailed
from edgesmith_runtime import picture as runtime
from edgesmith_runtime.engine import Engine

METRIC: dict[str, Any] = {"metric": "MeanAveragePrecision"}

# A network ------------------------------------------------------------------------------------------------------------

SIDE, PICTURE = 8, 32
"""Pixels: of a cell, of a picture."""
CELLS = PICTURE // SIDE
KINDS = 2
DECLARED: dict[str, Any] = {"form": "CentreSize", "order": "ChannelsFirst", "score_threshold": 0.4}


def head(order: str = "ChannelsFirst") -> onnx.ModelProto:
    """A detector of 16 cells with a raw head: of each the centre's x and y, width, height and a score for each class.

    The first two channels of a picture are bright where a thing of that class is; the third says how large it is, as
    a share of a cell. Convolutions make the sizes of it, in pixels: what eight bits lose is seen in boxes alone.
    """
    sizes, last = np.zeros((2, 3, SIDE, SIDE), np.float32), np.zeros((2, 2, 1, 1), np.float32)
    sizes[:, 2] = 1 / SIDE**2
    last[:, 0] = SIDE
    down, across = np.mgrid[0:CELLS, 0:CELLS].reshape(2, -1) * SIDE + SIDE / 2
    weights: dict[str, NDArray[Any]] = {
        "sizes": sizes,
        "last": last,
        "centres": np.stack([across, down])[None].astype(np.float32),
        "flat": np.array([1, -1, CELLS**2]),
        "begin": np.array([0]),
        "end": np.array([KINDS]),
        "axis": np.array([1]),
    }
    steps = {"strides": [SIDE, SIDE]}
    nodes = [
        node("AveragePool", ["image"], ["means"], kernel_shape=[SIDE, SIDE], **steps),
        *(node("Slice", ["means", "begin", "end", "axis"], ["k"]), node("Reshape", ["k", "flat"], ["scores"])),
        *(node("Conv", ["image", "sizes"], ["s"], **steps), node("Relu", ["s"], ["r"])),
        *(node("Conv", ["r", "last"], ["l"]), node("Reshape", ["l", "flat"], ["size"])),
        node("Concat", ["centres", "size", "scores"], ["channels"], axis=1),
        node("Transpose", ["channels"], ["head"], perm=[0, 1, 2] if order == "ChannelsFirst" else [0, 2, 1]),
    ]
    shape = [1, 4 + KINDS, CELLS**2] if order == "ChannelsFirst" else [1, CELLS**2, 4 + KINDS]
    return made(nodes, [("image", FLOAT, [1, 3, PICTURE, PICTURE])], [("head", FLOAT, shape)], weights)


def seen(count: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Pictures with one to four things each, some of them faint, and where these are."""
    rng = np.random.default_rng(seed)
    pictures = rng.uniform(0, 0.1, (count, 3, CELLS, CELLS))
    labels = np.full((count, 4, 5), -1.0)
    for picture, label in zip(pictures, labels, strict=True):
        for row, cell in zip(label, rng.permutation(CELLS**2)[: rng.integers(1, 5)], strict=False):
            (y, x), kind, share = divmod(int(cell), CELLS), int(rng.integers(KINDS)), rng.uniform(0.4, 0.8)
            picture[[kind, 2], y, x] = rng.uniform(0.35, 1.0), share
            centre, half = np.array([x, y]) * SIDE + SIDE / 2, share * SIDE / 2
            row[:] = (*(centre - half), *(centre + half), kind)
    inputs = pictures.repeat(SIDE, axis=2).repeat(SIDE, axis=3)
    return {"image": inputs.astype(np.float32), "labels": labels.astype(np.float32)}


def picture(**changes: Any) -> Picture:
    return Picture(scale=1 / 255, detection=Detection(**(DECLARED | changes)))


CALIBRATION, EVALUATION = {"image": seen(32, seed=2)["image"]}, seen(100, seed=1)


@pytest.mark.parametrize("order", ["ChannelsFirst", "BoxesFirst"])
def test_a_raw_head_keeps_its_gate_in_int8_where_its_boxes_stay(tmp_path: Path, order: Any) -> None:
    gates = Gates(min_accuracy=0.8, max_accuracy_drop=0.03)
    sought = picture(order=order)
    found = built(tmp_path, head(order), CALIBRATION, EVALUATION, gates=gates, picture=sought, **METRIC)
    int8, fp32 = found.candidates
    assert found.winner.candidate.precision == int8.precision == "int8"
    assert fp32.accuracy is not None
    assert 0.8 < fp32.accuracy < 1, "some things are too faint"
    assert 0 < (fp32.accuracy_error or 0) < 0.2


def test_int8_that_spoils_boxes_is_refused_by_the_gate(tmp_path: Path) -> None:
    """Calibrated with sizes that are 300 times as large: eight bits of these have no step for what is there."""
    gates = Gates(min_accuracy=0.8, max_accuracy_drop=0.1, min_agreement=0.0)
    spoiling = CALIBRATION["image"] * np.array([1, 1, 300], np.float32)[:, None, None]
    found = built(tmp_path, head(), {"image": spoiling}, EVALUATION, gates=gates, picture=picture(), **METRIC)
    assert found.winner.candidate.precision == "fp32"
    (int8,) = [one for one in found.candidates if one.precision == "int8"]
    assert (int8.accuracy_drop or 0) > 0.3
    assert (int8.accuracy_drop_error or 0) > 0
    assert "mAP@0.5" in (int8.rejected or "")


def test_what_the_model_does_not_answer_as_declared_is_said_of_the_request(tmp_path: Path) -> None:
    """Its numbers lie in one row: none of them is a channel of boxes."""
    flat = made(
        [node("Flatten", ["image"], ["head"], axis=0)],
        [("image", FLOAT, [1, 3, PICTURE, PICTURE])],
        [("head", FLOAT, [1, 3 * PICTURE**2])],
        {},
    )
    with pytest.raises(RequestInvalid, match=r"detection is not what the model answers .*numbers for each box"):
        asked(tmp_path, flat, None, EVALUATION, picture=picture(), **METRIC)


def test_labels_in_another_unit_are_refused_in_words_of_the_declaration(tmp_path: Path) -> None:
    labels = EVALUATION["labels"] / np.array([PICTURE] * 4 + [1], np.float32)
    with pytest.raises(
        DatasetMismatch, match=r"'head' finds none .*class in pixels of the model's input were expected"
    ):
        asked(tmp_path, head(), None, {**EVALUATION, "labels": labels}, picture=picture(), **METRIC)


# Which output is scored -----------------------------------------------------------------------------------------------

TWO = made(
    [
        node("Flatten", ["image"], ["levels"]),
        node("Neg", ["levels"], ["first"]),
        node("Identity", ["levels"], ["second"]),
    ],
    [("image", FLOAT, [1, 1, 2, 2])],
    [("first", FLOAT, [1, 4]), ("second", FLOAT, [1, 4])],
    {},
)


@pytest.mark.parametrize(("output", "value"), [(None, 1.0), ("second", 1.0), ("first", None)])
def test_the_output_that_is_declared_is_scored_unless_another_is_named(
    tmp_path: Path, output: str | None, value: float | None
) -> None:
    """A server answers labels from the second output; a score of the first would be one of something else."""
    inputs = np.random.default_rng(1).random((60, 1, 2, 2)).astype(np.float32)
    sets = {"image": inputs, "labels": inputs.reshape(60, 4).argmax(axis=1)}
    declared = Picture(classification=Classification(output="second"))
    if value is None:
        with pytest.raises(DatasetMismatch):
            asked(tmp_path, TWO, None, sets, picture=declared, output=output)
        return
    _, found = asked(tmp_path, TWO, None, sets, picture=declared, output=output)
    assert found.scored is not None
    assert found.scored.value == value


# Any declaration ------------------------------------------------------------------------------------------------------


def scored(declared: runtime.Picture, outputs: Any, labels: Any, output: str = "boxes", *, like: Any = None) -> Any:
    """The score of an engine that answers this to one sample."""
    engine = SimpleNamespace(infer=lambda _, names: {name: outputs[name] for name in names})
    samples = Samples({"x": np.zeros((1, 1), np.float32)}, {"x": 2}, batches=False, labels=np.array([labels], float))
    evaluation = Evaluation(samples, output, picture=declared)
    return metric_of("MeanAveragePrecision", {}).score(cast("Engine", engine), evaluation, like)


THERE = [[20, 30, 60, 90], [100, 10, 150, 50]]
LABELS = [[*THERE[0], 1], [*THERE[1], 2]]
"""Of the boxes, by class."""


@pytest.mark.parametrize("sought", ways(), ids=named_way)
def test_boxes_are_read_in_every_form_that_is_declared(sought: runtime.Detection) -> None:
    """Also those that overlap a better one, which a server leaves out, and one that scores too little."""
    declared = replace(DETECTED, width=160, height=120, resize="Crop", shorter_side=200, detection=sought)
    corners = np.array([*THERE, [22, 31, 60, 90], [0, 0, 10, 10]], np.float64)
    scores = np.array([[0.1, 0.7, 0.05], [0.03, 0.02, 0.5], [0.02, 0.6, 0.02], [0.02, 0.1, 0.02]])
    assert scored(declared, seen_outputs(declared, corners, scores), LABELS).value == 1.0


def test_a_second_box_for_a_thing_counts_where_nothing_is_suppressed() -> None:
    corners = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], np.float64)
    labels = [[0, 0, 10, 10, 0], [20, 20, 30, 30, 0]]
    values = {}
    for suppression in ("PerClass", "None"):
        sought = replace(BOXES, boxes="boxes", suppression=cast("Any", suppression))
        declared = replace(DETECTED, detection=sought)
        outputs = seen_outputs(declared, corners, np.array([[0.9], [0.8], [0.7]]))
        values[suppression] = scored(declared, outputs, labels).value
    assert values["PerClass"] == 1.0
    assert values["None"] == pytest.approx(5 / 6, abs=1e-6)


def test_what_a_server_does_not_answer_is_not_found() -> None:
    corners = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float64)
    labels = [[0, 0, 10, 10, 0], [20, 20, 30, 30, 0]]
    for changes, value in (({}, 1.0), ({"score_threshold": 0.8}, 0.5), ({"max_boxes": 1}, 0.5)):
        declared = replace(DETECTED, detection=replace(BOXES, boxes="boxes", **cast("Any", changes)))
        outputs = seen_outputs(declared, corners, np.array([[0.9], [0.7]]))
        assert scored(declared, outputs, labels).value == value


def test_an_output_that_is_not_declared_is_read_as_rows() -> None:
    """Of a model that answers raw boxes and, beside them, those that it chose itself."""
    declared = replace(DETECTED, detection=replace(BOXES, boxes="boxes"))
    outputs = {"boxes": np.zeros((1, 5, 9)), "chosen": np.array([[[0, 0, 10, 10, 0.9, 0]]], np.float32)}
    assert scored(declared, outputs, [[0, 0, 10, 10, 0]], "chosen").value == 1.0
    assert scored(declared, outputs, [[0, 0, 10, 10, 0]], "boxes").value == 0.0


def test_a_candidate_that_answers_otherwise_than_declared_is_left_out() -> None:
    """The source did not: so nothing is wrong with the request, and others may work."""
    declared = replace(DETECTED, detection=replace(BOXES, boxes="boxes"))
    corners, labels = np.array([[0, 0, 10, 10]], np.float64), [[0, 0, 10, 10, 0]]
    source = scored(declared, seen_outputs(declared, corners, np.array([[0.9]])), labels)
    other = {"boxes": np.zeros((1, 3, 9), np.float32)}
    with pytest.raises(ScoreFailed, match=r"picture\.detection is not what the model answers for spec\.evaluation"):
        scored(declared, other, labels, like=source)
    with pytest.raises(RequestInvalid):
        scored(declared, other, labels)
