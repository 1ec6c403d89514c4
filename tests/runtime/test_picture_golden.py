"""The golden picture's answer held against the recorded one, and declarations as bundles have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pictures import BOXES, CLASSIFIED, DETECTED

from edgesmith_runtime.picture import Picture, PictureError, Pipeline, Recorded, document_of, parse
from edgesmith_runtime.picture.golden import deviation

# The golden picture ---------------------------------------------------------------------------------------------------


def labelled(**scores: float) -> list[dict[str, Any]]:
    return [{"index": "abcdef".index(name), "score": score} for name, score in scores.items()]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (labelled(a=0.9, b=0.08, c=0.01), None),
        (labelled(a=0.92, b=0.07, c=0.01), None),
        (labelled(a=0.9, b=0.08, d=0.02), None),
        (labelled(a=0.7, b=0.28, c=0.01), "lacks 'one' with the score 0.9"),
        (labelled(b=0.9, a=0.08, c=0.01), "lacks 'one' with the score 0.9"),
        (labelled(a=0.9, b=0.08, d=0.05), None),
        (labelled(a=0.9, d=0.19, b=0.08), "has 'four' with the score 0.19"),
        ([], "lacks 'one' with the score 0.9"),
    ],
)
def test_labels_agree_within_the_tolerance(given: Any, says: str | None) -> None:
    recorded = Recorded({"labels": labelled(a=0.9, b=0.08, c=0.01)}, 0.05)
    pipeline = Pipeline(replace(CLASSIFIED, recorded=recorded), "FP32", ("one", "two", "three", "four"))
    found = deviation(pipeline, {"labels": given})
    if says is None:
        assert found is None
    else:
        assert found is not None
        assert says in found


def boxed(*some: tuple[int, float, tuple[int, int, int, int]]) -> list[dict[str, Any]]:
    names = ("left", "top", "right", "bottom")
    return [
        {"index": number, "score": score, "box": dict(zip(names, sides, strict=True))} for number, score, sides in some
    ]


ONE, TWO = (0, 0.95, (10, 10, 50, 50)), (1, 0.61, (60, 0, 64, 9))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (boxed(ONE, TWO), None),
        (boxed((0, 0.93, (12, 9, 52, 51)), TWO), None),
        (boxed(ONE), None),
        (boxed(ONE, TWO, (0, 0.62, (0, 0, 5, 5))), None),
        ([], "lacks 'red' with the score 0.95 at left 10, top 10, right 50, bottom 50"),
        (boxed((0, 0.85, ONE[2]), TWO), "lacks 'red' with the score 0.95"),
        (boxed((1, 0.95, ONE[2]), TWO), "lacks 'red' with the score 0.95"),
        (boxed((0, 0.95, (40, 40, 64, 64)), TWO), "lacks 'red' with the score 0.95"),
        (boxed(ONE, TWO, (2, 0.9, (0, 0, 5, 5))), "has class 2 with the score 0.9"),
    ],
)
def test_boxes_agree_where_they_overlap(given: Any, says: str | None) -> None:
    recorded = Recorded({"boxes": boxed(ONE, TWO)}, 0.05)
    found = deviation(Pipeline(replace(DETECTED, recorded=recorded), "FP32", ("red", "green")), {"boxes": given})
    if says is None:
        assert found is None
    else:
        assert found is not None
        assert says in found


# What a bundle says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "picture",
    [
        CLASSIFIED,
        DETECTED,
        replace(CLASSIFIED, resize="Crop", shorter_side=20, labels=("a", "b"), mean=(1.0, 2.0, 3.0)),
        replace(DETECTED, detection=replace(BOXES, scores="s", classes="c"), recorded=Recorded({"boxes": []}, 0.1)),
    ],
)
def test_a_declaration_is_read_as_it_was_written(picture: Picture) -> None:
    assert parse(document_of(picture)) == picture


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 0}, "picture.width is '0'; expected a whole number from 1 to 8192"),
        ({"height": "16"}, "picture.height is '16'; expected a whole number"),
        ({"resize": "Squash"}, "picture.resize is 'Squash'; expected Stretch or Crop or Letterbox"),
        ({"layout": None}, "picture.layout is 'None'; expected NCHW"),
        ({"scale": "1/255"}, "picture.scale is '1/255'; expected a number"),
        ({"scale": True}, "picture.scale is 'True'; expected a number"),
        ({"mean": []}, "picture.mean is '[]'; expected a list of numbers"),
        ({"deviation": [float("nan")]}, "picture.deviation is 'nan'; expected a number"),
        ({"labels": [1]}, "picture.labels is '[1]'; expected a list of strings"),
        ({"classification": None}, "picture has both classification and detection, or neither"),
        ({"classification": {"output": "scores"}}, "picture.classification.activation is 'None'; expected"),
        ({"classification": []}, "picture.classification is '[]'; expected an object"),
        ({"golden": {"answer": 1, "tolerance": 1}}, "picture.golden.answer is '1'; expected an object"),
    ],
)
def test_a_declaration_that_is_none_is_refused(change: dict[str, Any], says: str) -> None:
    document = document_of(CLASSIFIED) | change
    if change == {"classification": {"output": "scores"}}:
        document["classification"]["activation"] = []
        says = "picture.classification.activation is '[]'; expected None or Softmax or Sigmoid"
    with pytest.raises(PictureError) as error:
        parse(document)
    assert says in str(error.value)


def test_a_document_that_is_no_object_is_refused() -> None:
    with pytest.raises(PictureError, match=r"^picture is '\[\]'; expected an object$"):
        parse([])
