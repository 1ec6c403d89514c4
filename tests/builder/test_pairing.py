"""Which tensor of an alternative stands for which of spec.source."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgesmith_builder.errors import InterfaceMismatch
from edgesmith_builder.format import Renames
from edgesmith_builder.pairing import paired
from edgesmith_runtime.tensors import TensorSpec

WHAT = "spec.optimize.alternatives[mobile].source.uri s3://m/model"
PICTURE, SCORES, BOXES = (-1, 3, 8, 8), (-1, 2), (-1, 4)


def model(inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    """An engine with such tensors: a shape, of floats, or a type and a shape."""

    def specs(of: dict[str, Any]) -> tuple[TensorSpec, ...]:
        told = {name: one if isinstance(one[0], str) else ("FP32", one) for name, one in of.items()}
        return tuple(TensorSpec(name, datatype, shape) for name, (datatype, shape) in told.items())

    return SimpleNamespace(inputs=specs(inputs), outputs=specs(outputs))


SOURCE = model({"data": PICTURE}, {"scores": SCORES, "boxes": BOXES})


def test_the_same_names_stay() -> None:
    assert paired(WHAT, model({"data": PICTURE}, {"scores": SCORES, "boxes": BOXES}), SOURCE) == Renames()


def test_what_alone_is_of_its_type_and_shape_belongs_together() -> None:
    other = model({"input.1": PICTURE}, {"473": SCORES, "481": BOXES})
    assert paired(WHAT, other, SOURCE) == Renames({"input.1": "data"}, {"473": "scores", "481": "boxes"})


def test_names_that_agree_go_first_and_leave_one() -> None:
    tokens = ("INT64", (-1, -1))
    source = model({"ids": tokens, "attention_mask": tokens}, {"scores": SCORES})
    other = model({"mask": tokens, "ids": tokens}, {"scores": SCORES})
    assert paired(WHAT, other, source) == Renames({"mask": "attention_mask"})


def test_a_name_that_is_another_tensor_s_tells_nothing() -> None:
    other = model({"data": PICTURE}, {"boxes": SCORES, "scores": BOXES})
    assert paired(WHAT, other, SOURCE) == Renames({}, {"boxes": "scores", "scores": "boxes"})


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ({"x": (1, 3, 8, 8)}, {"a": SCORES, "b": BOXES}, r"takes x FP32\[1,3,8,8\]; data FP32\[-1,3,8,8\] was"),
        ({"x": ("UINT8", PICTURE)}, {"a": SCORES, "b": BOXES}, r"takes x UINT8\[-1,3,8,8\]; data FP32"),
        ({"x": PICTURE, "y": PICTURE}, {"a": SCORES, "b": BOXES}, r"takes x FP32.*, y FP32.*; data FP32"),
        ({"x": PICTURE}, {"a": SCORES}, r"answers a FP32\[-1,2\]; scores FP32\[-1,2\], boxes FP32"),
        ({"x": PICTURE}, {"b": BOXES, "a": SCORES}, r"answers b FP32.*, a FP32.*; scores FP32.*, boxes FP32.* was"),
        ({"data": PICTURE}, {"boxes": BOXES, "scores": SCORES}, r"answers boxes .*, scores .*; scores .*, boxes"),
    ],
    ids=["an open size", "a type", "an input more", "an output less", "another output first", "and by name"],
)  # fmt: skip
def test_what_differs_in_more_than_names_is_refused(inputs: Any, outputs: Any, says: str) -> None:
    with pytest.raises(InterfaceMismatch, match=says) as caught:
        paired(WHAT, model(inputs, outputs), SOURCE)
    assert str(caught.value).startswith(WHAT)


def test_two_of_a_kind_under_other_names_are_refused_and_named() -> None:
    source = model({"left": PICTURE, "right": PICTURE, "both": SCORES}, {"scores": SCORES})
    other = model({"both": SCORES, "a": PICTURE, "b": PICTURE}, {"scores": SCORES})
    with pytest.raises(InterfaceMismatch) as caught:
        paired(WHAT, other, source)
    assert str(caught.value) == (
        f"{WHAT} takes a FP32[-1,3,8,8], b FP32[-1,3,8,8], and spec.source takes left FP32[-1,3,8,8], right "
        "FP32[-1,3,8,8], all of one type and shape, so that nothing tells which stands for which; the names of "
        "spec.source were expected"
    )


def test_it_holds_for_outputs_too() -> None:
    source = model({"data": PICTURE}, {"scores": SCORES, "classes": BOXES, "boxes": BOXES})
    other = model({"data": PICTURE}, {"scores": SCORES, "c": BOXES, "b": BOXES})
    with pytest.raises(InterfaceMismatch, match=r"answers c .*, b .*, and spec.source answers classes .*, boxes "):
        paired(WHAT, other, source)
