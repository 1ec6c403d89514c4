"""A declaration as ``bundle.json`` has it: checked field by field, since it comes from an image."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, get_args

from edgesmith_runtime.picture.declaration import (
    Activation,
    Channels,
    Classification,
    Detection,
    Form,
    Interpolation,
    Layout,
    Order,
    Picture,
    PictureError,
    Recorded,
    Resize,
    Suppression,
    Unit,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LARGEST_SIDE", "MOST_BOXES", "document_of", "parse"]

LARGEST_SIDE: Final = 8192
"""The most pixels that a side of a model's input may have."""
MOST_BOXES: Final = 1000
"""The most boxes or labels of one answer."""
_MOST_LABELS: Final = 100_000
_BYTE: Final = 255
_LARGEST: Final = sys.float_info.max
"""An integer may have so many digits that it is no float, and is compared as it is."""


def parse(document: Any) -> Picture:
    """Check a document and turn it into what it declares.

    Args:
        document: What ``bundle.json`` holds under ``picture``.

    Raises:
        PictureError: A field is missing, or is not what was expected.
    """
    fields = _Fields("picture", document)
    classification, detection = fields.inner("classification"), fields.inner("detection")
    if (classification is None) == (detection is None):
        raise PictureError("picture has both classification and detection, or neither; expected one of them")
    golden = fields.inner("golden")
    shorter = fields.get("shorterSide")
    return Picture(
        input=fields.name("input"),
        layout=fields.one("layout", Layout),
        width=fields.whole("width", 1, LARGEST_SIDE),
        height=fields.whole("height", 1, LARGEST_SIDE),
        resize=fields.one("resize", Resize),
        shorter_side=None if shorter is None else fields.whole("shorterSide", 1, LARGEST_SIDE),
        fill=fields.whole("fill", 0, _BYTE),
        interpolation=fields.one("interpolation", Interpolation),
        channels=fields.one("channels", Channels),
        scale=fields.number("scale"),
        mean=fields.numbers("mean"),
        deviation=fields.numbers("deviation"),
        labels=fields.names("labels"),
        classification=None if classification is None else _classification(classification),
        detection=None if detection is None else _detection(detection),
        recorded=None if golden is None else Recorded(golden.object("answer"), golden.number("tolerance")),
    )


def document_of(picture: Picture) -> dict[str, Any]:
    """Write a declaration as `parse` reads it; what is absent is left out."""
    found: dict[str, Any] = {
        "input": picture.input,
        "layout": picture.layout,
        "width": picture.width,
        "height": picture.height,
        "resize": picture.resize,
        "shorterSide": picture.shorter_side,
        "fill": picture.fill,
        "interpolation": picture.interpolation,
        "channels": picture.channels,
        "scale": picture.scale,
        "mean": list(picture.mean),
        "deviation": list(picture.deviation),
        "labels": list(picture.labels),
    }
    if (asked := picture.classification) is not None:
        found["classification"] = {
            "output": asked.output,
            "activation": asked.activation,
            "scale": asked.scale,
            "topK": asked.top_k,
        }
    if (sought := picture.detection) is not None:
        found["detection"] = _present(
            {
                "boxes": sought.boxes,
                "scores": sought.scores,
                "classes": sought.classes,
                "form": sought.form,
                "unit": sought.unit,
                "order": sought.order,
                "objectness": sought.objectness,
                "background": sought.background,
                "activation": sought.activation,
                "scoreThreshold": sought.score_threshold,
                "iouThreshold": sought.iou_threshold,
                "suppression": sought.suppression,
                "maxBoxes": sought.max_boxes,
            }
        )
    if picture.recorded is not None:
        found["golden"] = {"answer": dict(picture.recorded.answer), "tolerance": picture.recorded.tolerance}
    return _present(found)


def _present(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}


def _classification(fields: _Fields) -> Classification:
    return Classification(
        output=fields.name("output"),
        activation=fields.one("activation", Activation),
        scale=fields.number("scale"),
        top_k=fields.whole("topK", 1, MOST_BOXES),
    )


def _detection(fields: _Fields) -> Detection:
    return Detection(
        boxes=fields.name("boxes"),
        scores=None if fields.get("scores") is None else fields.name("scores"),
        classes=None if fields.get("classes") is None else fields.name("classes"),
        form=fields.one("form", Form),
        unit=fields.one("unit", Unit),
        order=fields.one("order", Order),
        objectness=fields.flag("objectness"),
        background=fields.flag("background"),
        activation=fields.one("activation", Activation),
        score_threshold=fields.number("scoreThreshold"),
        iou_threshold=fields.number("iouThreshold"),
        suppression=fields.one("suppression", Suppression),
        max_boxes=fields.whole("maxBoxes", 1, MOST_BOXES),
    )


class _Fields:
    """The fields of an object, each read as what it must be."""

    def __init__(self, where: str, document: Any) -> None:
        self._where = where
        if not isinstance(document, dict):
            self._refuse("", document, "an object")
        self._document: Mapping[str, Any] = document

    def get(self, field: str) -> Any:
        return self._document.get(field)

    def inner(self, field: str) -> _Fields | None:
        value = self.get(field)
        return None if value is None else _Fields(f"{self._where}.{field}", value)

    def object(self, field: str) -> Mapping[str, Any]:
        value = self.get(field)
        if not isinstance(value, dict):
            self._refuse(field, value, "an object")
        return dict(value)

    def name(self, field: str) -> str:
        value = self.get(field)
        if not isinstance(value, str) or not value:
            self._refuse(field, value, "a name")
        return str(value)

    def names(self, field: str) -> tuple[str, ...]:
        value = self.get(field)
        if not isinstance(value, list) or len(value) > _MOST_LABELS or not all(isinstance(one, str) for one in value):
            self._refuse(field, value, "a list of strings")
        return tuple(value or ())

    def one(self, field: str, words: Any) -> Any:
        value = self.get(field)
        if value not in get_args(words):
            self._refuse(field, value, " or ".join(get_args(words)))
        return value

    def flag(self, field: str) -> bool:
        value = self.get(field)
        if not isinstance(value, bool):
            self._refuse(field, value, "true or false")
        return bool(value)

    def whole(self, field: str, least: int, most: int) -> int:
        value = self.get(field)
        if type(value) is not int or not least <= value <= most:
            self._refuse(field, value, f"a whole number from {least} to {most}")
        return int(value or 0)

    def number(self, field: str) -> float:
        (found,) = self._floats(field, [self.get(field)])
        return found

    def numbers(self, field: str) -> tuple[float, ...]:
        value = self.get(field)
        if not isinstance(value, list) or not value:
            self._refuse(field, value, "a list of numbers")
        return self._floats(field, value or [])

    def _floats(self, field: str, values: Sequence[Any]) -> tuple[float, ...]:
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
                self._refuse(field, value, "a number")
        return tuple(float(value) for value in values)

    def _refuse(self, field: str, value: Any, expected: str) -> None:
        where = f"{self._where}.{field}" if field else self._where
        raise PictureError(f"{where} is {str(value)[:100]!r}; expected {expected}")
