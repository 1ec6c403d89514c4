"""Answers about pictures: labels, boxes in every form, overlaps, and the golden picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from detector import detector
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pictures import BOXES, CLASSES, DETECTED, named_way, png, scene, seen_outputs, ways

from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.errors import AnswerFailed
from edgesmith_runtime.picture import Detection, Pipeline
from edgesmith_runtime.picture.classifying import classes_of
from edgesmith_runtime.picture.detecting import boxes_of
from edgesmith_runtime.picture.placing import place
from edgesmith_runtime.picture.suppressing import suppressed

# Labels ---------------------------------------------------------------------------------------------------------------


def test_the_best_classes_come_first_and_of_equals_the_first() -> None:
    scores = np.array([[0.1, 0.4, 0.1, 0.4]], np.float32)
    found = classes_of(replace(CLASSES, activation="None"), scores, "abcd")
    assert [(one["label"], one["index"]) for one in found] == [("b", 1), ("d", 3), ("a", 0)]
    assert found[0]["score"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("activation", "wanted"),
    [
        ("None", [3.0, 1.0, -2.0]),
        ("Softmax", [0.8756, 0.1185, 0.0059]),
        ("Sigmoid", [0.9526, 0.7311, 0.1192]),
    ],
)
def test_scores_are_made_of_numbers(activation: Any, wanted: list[float]) -> None:
    found = classes_of(replace(CLASSES, activation=activation), np.array([1.0, -2.0, 3.0]), ())
    assert [one["score"] for one in found] == pytest.approx(wanted, abs=1e-4)
    assert "label" not in found[0]


@pytest.mark.parametrize("activation", ["Softmax", "Sigmoid"])
def test_numbers_of_any_size_have_scores(activation: Any) -> None:
    found = classes_of(replace(CLASSES, activation=activation), np.array([1e30, -1e30, -np.inf]), ())
    assert [one["score"] for one in found] == [1.0, 0.0, 0.0]


def test_bytes_are_scaled() -> None:
    found = classes_of(replace(CLASSES, activation="None", scale=1 / 256), np.array([[0, 64, 255]], np.uint8), ())
    assert [one["score"] for one in found] == pytest.approx([0.996094, 0.25, 0.0], abs=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_none_fails(bad: float) -> None:
    with pytest.raises(AnswerFailed, match="'scores' holds infinity or NaN"):
        classes_of(replace(CLASSES, activation="None"), np.array([0.0, bad]), ())


def test_the_logarithm_of_nothing_is_no_answer() -> None:
    found = classes_of(replace(CLASSES, activation="None"), np.array([-np.inf, -1.0]), ())
    assert [one["index"] for one in found] == [1]


# Overlaps -------------------------------------------------------------------------------------------------------------


def overlap(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The share of pixels of either that both have, counted one by one on a grid."""
    grid = np.zeros((2, 24, 24), bool)
    for plane, (left, top, right, bottom) in zip(grid, (one, other), strict=True):
        plane[int(top) : int(bottom), int(left) : int(right)] = True
    either = (grid[0] | grid[1]).sum()
    return float((grid[0] & grid[1]).sum() / either) if either else 0.0


box = st.tuples(*(st.integers(0, 11) for _ in range(2)), *(st.integers(0, 12) for _ in range(2)))


@given(
    st.lists(st.tuples(box, st.integers(0, 20), st.integers(0, 2)), max_size=14),
    st.sampled_from([0.0, 0.2, 0.45, 0.5, 1.0]),
    st.booleans(),
    st.integers(1, 15),
)
@settings(max_examples=300)
def test_suppression_is_what_the_definition_says(some: Any, threshold: float, per_class: bool, most: int) -> None:  # noqa: FBT001 - drawn
    corners = np.array([(x, y, x + w, y + h) for (x, y, w, h), _, _ in some], np.float64).reshape(-1, 4)
    scores = np.array([score / 20 for _, score, _ in some])
    classes = np.array([number for _, _, number in some], np.int64)
    kept: list[int] = []
    for one in sorted(range(len(some)), key=lambda index: (-scores[index], index)):
        rivals = [other for other in kept if not per_class or classes[other] == classes[one]]
        if len(kept) < most and all(overlap(corners[one], corners[other]) <= threshold for other in rivals):
            kept.append(one)
    found = suppressed(corners, scores, classes if per_class else None, threshold=threshold, most=most)
    assert found.tolist() == kept


# Boxes in every form --------------------------------------------------------------------------------------------------

NAMES = ("cat", "dog", "hen")


@pytest.mark.parametrize("sought", ways(), ids=named_way)
def test_the_same_boxes_are_found_in_every_form(sought: Detection) -> None:
    corners = np.array([[20, 30, 60, 90], [22, 31, 60, 90], [100, 10, 150, 50], [0, 0, 10, 10], [150, 110, 170, 130]])
    scores = np.array([[0.1, 0.7, 0.05], [0.02, 0.6, 0.02], [0.03, 0.02, 0.5], [0.2, 0.1, 0.1], [0.4, 0.02, 0.02]])
    picture = replace(DETECTED, width=160, height=120, resize="Letterbox", detection=sought)
    placed = place(picture, 320, 320)  # 120 of 160 columns, from the 20th on; 2.67 to one
    found = boxes_of(picture, seen_outputs(picture, corners.astype(np.float64), scores), placed, NAMES)
    assert [(one["label"], one["score"]) for one in found] == [
        ("dog", pytest.approx(0.7, abs=0.001)),
        ("hen", pytest.approx(0.5, abs=0.001)),
    ]
    sides = [[one["box"][side] for side in ("left", "top", "right", "bottom")] for one in found]
    assert sides[0] == pytest.approx([0, 80, 106.67, 240], abs=0.02)
    assert sides[1] == pytest.approx([213.33, 26.67, 320, 133.33], abs=0.02)


def test_what_lies_beside_the_picture_is_no_box() -> None:
    picture = replace(DETECTED, detection=replace(BOXES, boxes="boxes", form="Corners", order="BoxesFirst"))
    placed = place(picture, 128, 32)  # 64 x 16 in the middle of 64 x 64
    rows = np.array(
        [
            [
                [10, 0, 20, 20, 0.9],
                [0, 30, 10, 40, 0.8],
                [5, 5, 5, 5, 0.7],
                [np.nan, 0, 9, 60, 0.9],
                [40, 0, np.inf, 60, 0.9],
            ]
        ]
    )
    (found,) = boxes_of(picture, {"boxes": rows}, placed, ())
    assert found == {
        "index": 0, "score": 0.8, "box": {"left": 0.0, "top": 12.0, "right": 20.0, "bottom": 32.0},
    }  # fmt: skip


def by_hand(boxes: NDArray[Any], scores: NDArray[Any], threshold: float, most: int) -> list[tuple[float, list[float]]]:
    """A face detector's boxes, one after the other: two scores, the first of them for no face."""
    found: list[tuple[float, list[float]]] = []
    for index in sorted(range(len(boxes)), key=lambda one: -scores[one, 1]):
        x, y, width, height = (float(number) for number in boxes[index])
        sides = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        if scores[index, 1] < threshold or len(found) == most:
            break
        for _, other in found:
            across = max(0.0, min(sides[2], other[2]) - max(sides[0], other[0]))
            down = max(0.0, min(sides[3], other[3]) - max(sides[1], other[1]))
            areas = [max(0.0, one[2] - one[0]) * max(0.0, one[3] - one[1]) for one in (sides, other)]
            if across * down > 0.3 * (sum(areas) - across * down):
                break
        else:
            found.append((float(scores[index, 1]), sides))
    return found


def test_a_real_network_s_4800_places_come_out_as_by_hand(tmp_path: Path) -> None:
    onnx.save(detector(3), tmp_path / "faces.onnx")
    engine = load_engine("onnxruntime", tmp_path / "faces.onnx", threads=1)
    sought = replace(
        BOXES, boxes="boxes", scores="scores", order="BoxesFirst", background=True, iou_threshold=0.3, max_boxes=40
    )
    picture = replace(
        DETECTED, input="image", width=320, height=240, scale=1 / 128, mean=(127 / 128,), detection=sought
    )
    pipeline = Pipeline(picture, "FP32", ())
    prepared = pipeline.prepare(memoryview(png(scene(640, 480))))
    outputs = engine.infer(prepared.feed)
    engine.close()
    # The network is not trained: so its boxes lie in the picture, and some of them apart.
    centres, sides = outputs["boxes"][..., :2], np.abs(outputs["boxes"][..., 2:])
    spread = (centres - centres.mean(axis=1)) / centres.std(axis=1)
    outputs["boxes"] = np.concatenate([spread * [60, 45] + [160, 120], 10 + 20 * sides], axis=-1)
    wanted = by_hand(outputs["boxes"][0], outputs["scores"][0], sought.score_threshold, sought.max_boxes)
    found = pipeline.answer(outputs, prepared.placed)["boxes"]
    assert len(found) > 5
    seen = [(score, np.clip(np.array(sides) * 2, 0, [640, 480, 640, 480])) for score, sides in wanted]
    seen = [(score, sides) for score, sides in seen if sides[0] < sides[2] and sides[1] < sides[3]]
    assert len(found) == len(seen)
    for one, (score, sides) in zip(found, seen, strict=True):
        assert one["score"] == pytest.approx(score, abs=1e-5)
        assert [one["box"][side] for side in ("left", "top", "right", "bottom")] == pytest.approx(list(sides), abs=0.02)


@pytest.mark.parametrize(("suppression", "kept"), [("PerClass", 2), ("AllClasses", 1), ("None", 3)])
def test_overlaps_count_between_the_boxes_that_are_declared(suppression: Any, kept: int) -> None:
    sought = replace(BOXES, boxes="boxes", form="Corners", order="BoxesFirst", suppression=suppression)
    picture = replace(DETECTED, detection=sought)
    rows = np.array([[[10, 10, 30, 30, 0.9, 0.1], [10, 10, 30, 31, 0.1, 0.8], [10, 10, 31, 30, 0.7, 0.1]]])
    found = boxes_of(picture, {"boxes": rows}, place(picture, 64, 64), ())
    assert len(found) == kept
    assert [one["score"] for one in found] == [0.9, 0.8, 0.7][:kept]


def test_no_more_boxes_than_declared_are_answered() -> None:
    sought = replace(BOXES, boxes="boxes", form="Corners", order="BoxesFirst", max_boxes=3)
    rows = np.array([[[10 * number, 0, 10 * number + 5, 9, 0.7 + number / 100] for number in range(6)]])
    picture = replace(DETECTED, detection=sought)
    found = boxes_of(picture, {"boxes": rows}, place(picture, 64, 64), ())
    assert [one["score"] for one in found] == [0.75, 0.74, 0.73]


def test_a_box_with_an_infinite_score_is_no_answer() -> None:
    sought = replace(BOXES, boxes="boxes", form="Corners", order="BoxesFirst", activation="None")
    picture = replace(DETECTED, detection=sought)
    rows = np.array([[[0, 0, 5, 9, np.inf], [10, 0, 15, 9, 0.9]]])
    with pytest.raises(AnswerFailed, match="output 'boxes' holds infinity; expected scores"):
        boxes_of(picture, {"boxes": rows}, place(picture, 64, 64), ())


@pytest.mark.parametrize(
    ("shape", "changes", "says"),
    [
        ((1, 7, 49), {"order": "ChannelsFirst"}, None),
        ((1, 1, 7, 49), {"order": "ChannelsFirst"}, None),
        ((49, 7), {"order": "BoxesFirst"}, None),
        ((1, 0, 7), {"order": "BoxesFirst"}, None),
        ((1, 3, 49), {"order": "ChannelsFirst"}, "3 numbers for each box in the order ChannelsFirst; expected 5"),
        ((1, 49, 4), {"order": "BoxesFirst"}, "4 numbers for each box in the order BoxesFirst; expected 5"),
        ((2, 49, 7), {"order": "BoxesFirst"}, r"has shape \[2,49,7\]; expected boxes and their numbers"),
        ((1, 49, 5), {"order": "BoxesFirst", "objectness": True}, "no scores of classes; expected one at least"),
    ],
)
def test_outputs_have_the_declared_shapes(shape: tuple[int, ...], changes: dict[str, Any], says: str | None) -> None:
    picture = replace(DETECTED, detection=replace(BOXES, **changes))
    outputs, placed = {"found": np.zeros(shape)}, place(picture, 64, 64)
    if says is None:
        assert boxes_of(picture, outputs, placed, ()) == []
    else:
        with pytest.raises(AnswerFailed, match=says):
            boxes_of(picture, outputs, placed, ())


def test_scores_and_classes_are_as_many_as_boxes() -> None:
    sought = replace(BOXES, boxes="boxes", scores="scores", form="Corners", order="BoxesFirst")
    outputs = {"boxes": np.zeros((1, 5, 4)), "scores": np.zeros((1, 6, 2)), "classes": np.zeros((1, 5))}
    picture = replace(DETECTED, detection=sought)
    with pytest.raises(AnswerFailed, match="'scores' has 6 boxes; expected 5"):
        boxes_of(picture, outputs, place(picture, 64, 64), ())
    picture = replace(DETECTED, detection=replace(sought, classes="classes"))
    with pytest.raises(AnswerFailed, match="expected one number for each of 5 boxes"):
        boxes_of(picture, outputs, place(picture, 64, 64), ())
