"""How pictures are taken and answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from edgesmith.api.fraction import Fraction
from edgesmith.api.model import Model, fits, rules

SCALE = r"^[0-9]+(\.[0-9]+)?(/[1-9][0-9]*(\.[0-9]+)?)?$"
_NUMBER = r"^-?[0-9]+(\.[0-9]+)?$"
_IS_NUMBER = fits("must be a number as a string: 123.675, say")
Number = Annotated[
    str, Field(pattern=_NUMBER, max_length=32, description="A number in quotes.", json_schema_extra=_IS_NUMBER)
]
"""A number in a list of a spec: floats change between encoders."""
Divisor = Annotated[
    str,
    Field(
        pattern=_NUMBER,
        max_length=32,
        description="A number in quotes.",
        json_schema_extra={**_IS_NUMBER, **rules({"!self.matches('^-?[0.]+$')": "must not be 0: it divides"})},
    ),
]
"""A number that something is divided by."""

_SCALE_RULES: JsonDict = {
    **fits("must be a number, or one over another, as a string: 1/255, say"),
    **rules({"!self.matches('^[0.]+(/.*)?$')": "must be more than 0"}),
}


def _scale(default: str, description: str) -> Any:
    return Field(default, pattern=SCALE, max_length=32, description=description, json_schema_extra=_SCALE_RULES)


def _numbers(default: str, description: str) -> Any:
    each = rules({"size(self) != 2": "must be one number, or three for three channels"})
    return Field((default,), min_length=1, max_length=3, description=description, json_schema_extra=each)


def _output(description: str) -> Any:
    return Field(None, min_length=1, max_length=253, description=description)


class Classification(Model):
    """An output that has one score for each class."""

    output: str | None = _output("The output with the scores, by its name. Absent: the model's first.")
    activation: Literal["None", "Softmax", "Sigmoid"] = Field(
        "None", description="What makes scores of the output's numbers. None: they are scores already."
    )
    scale: str = _scale(
        "1", "What the output's numbers are multiplied by before that: 1/256 for bytes that stand for 0 to 1, say."
    )
    top_k: int = Field(5, ge=1, le=1000, description="How many of the best classes are answered.")


class Detection(Model):
    """Outputs that have boxes and their scores."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "!has(self.classes) || has(self.scores)": (
                    "classes needs the output with the scores beside it: give scores"
                ),
                "!has(self.classes) || !has(self.objectness) || !self.objectness": (
                    "objectness is for scores of classes: give classes or objectness"
                ),
                "!has(self.classes) || !has(self.activation) || self.activation != 'Softmax'": (
                    "Softmax is for a score of each class: give activation Sigmoid or None beside classes"
                ),
            }
        )
    )

    boxes: str | None = _output("The output with the boxes, by its name. Absent: the model's first.")
    scores: str | None = _output(
        "The output with the boxes' scores, one for each class, or one for each box where classes is given. Absent: "
        "the scores are behind the four numbers of each box."
    )
    classes: str | None = _output(
        "The output with the number of each box's class. Absent: there is a score for each class, and the best one "
        "counts."
    )
    form: Literal["Corners", "CornersYX", "CornerSize", "CentreSize"] = Field(
        "Corners",
        description=(
            "What the four numbers of a box are. Corners: left, top, right, bottom. CornersYX: top, left, bottom, "
            "right. CornerSize: left, top, width, height. CentreSize: the centre's x and y, width, height."
        ),
    )
    unit: Literal["Pixels", "Normalised"] = Field(
        "Pixels", description="What they count: pixels of the model's input, or shares of its width and height."
    )
    order: Literal["BoxesFirst", "ChannelsFirst"] = Field(
        "BoxesFirst",
        description=(
            "Which axis comes first, behind that of the batch: boxes, or their numbers, as in the [1, 84, 8400] of "
            "newer YOLO models."
        ),
    )
    objectness: bool = Field(
        False, description="Whether a score of the box itself stands before those of the classes, which it multiplies."
    )
    background: bool = Field(False, description="Whether the first class stands for no object, and has no label.")
    activation: Literal["None", "Softmax", "Sigmoid"] = Field(
        "None", description="What makes scores of numbers, along the classes. None: they are scores already."
    )
    score_threshold: Fraction = Field("25%", description="The least score of a box that is answered, in quotes.")
    iou_threshold: Fraction = Field(
        "45%",
        description=(
            "By how much two boxes may overlap, as a share of the area of either; of two that overlap more, the one "
            "with the lower score goes."
        ),
    )
    suppression: Literal["PerClass", "AllClasses", "None"] = Field(
        "PerClass",
        description=(
            "Between which boxes overlaps count: those of one class, or all. None: not at all, for models that have "
            "non-maximum suppression in them."
        ),
    )
    max_boxes: int = Field(
        100, ge=1, le=1000, description="How many boxes are answered at most, those with the best scores."
    )


class Picture(Model):
    """How a picture becomes the model's input, and what its answer means."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "has(self.classification) != has(self.detection)": "give exactly one of classification and detection",
                "!has(self.shorterSide) || (has(self.resize) && self.resize == 'Crop')": (
                    "shorterSide is for resize Crop alone"
                ),
            }
        )
    )

    layout: Literal["NCHW", "NHWC", "NHW", "CHW", "HWC", "HW"] | None = Field(
        None,
        description=(
            "The order of the input's axes: N is the batch, C the channels, H the rows, W the columns. Absent: seen "
            "from where the input's shape has 1 or 3 channels."
        ),
    )
    width: int | None = Field(
        None, ge=1, le=8192, description="Width of the input in pixels. Absent: as the model says."
    )
    height: int | None = Field(
        None, ge=1, le=8192, description="Height of the input in pixels. Absent: as the model says."
    )
    channels: Literal["RGB", "BGR", "Gray"] | None = Field(
        None, description="What the input's channels are. Absent: Gray for one, RGB for three."
    )
    resize: Literal["Stretch", "Crop", "Letterbox"] = Field(
        "Stretch",
        description=(
            "How a picture of another shape comes to the input's size. Stretch: each side by itself. Crop: its middle "
            "is cut out. Letterbox: it fits in whole, with grey beside it."
        ),
    )
    shorter_side: int | None = Field(
        None,
        ge=1,
        le=8192,
        description=(
            "With Crop: what the picture's shorter side is resized to before its middle is cut out, 256 for an input "
            "of 224, say. Absent: just as much as covers the input."
        ),
    )
    fill: int = Field(114, ge=0, le=255, description="With Letterbox: the grey level beside the picture.")
    interpolation: Literal["Nearest", "Bilinear", "Bicubic", "Area"] = Field(
        "Bilinear",
        description=(
            "What a pixel is computed from, as Pillow and torchvision do it: all but Nearest smooth where a picture "
            "becomes smaller."
        ),
    )
    scale: str = _scale(
        "1",
        "What grey levels from 0 to 255 are multiplied by, in quotes: 1/255, say. A level p becomes (p * scale - mean) "
        "/ deviation.",
    )
    mean: tuple[Number, ...] = _numbers(
        "0", "What is subtracted then: one number, or one for each channel in the input's order."
    )
    deviation: tuple[Divisor, ...] = _numbers(
        "1", "What is divided by then: one number, or one for each channel in the input's order."
    )
    labels: tuple[Annotated[str, Field(max_length=96, description="Name of a class.")], ...] = Field(
        (),
        max_length=1024,
        description="Names of the classes in the order of the output, where the model has none itself.",
    )
    classification: Classification | None = Field(None, description="The answer is labels: the best classes.")
    detection: Detection | None = Field(None, description="The answer is boxes.")


def number_of(text: str) -> float:
    """The value of a number, or of one over another: `1/255`.

    Raises:
        ValueError: The text is neither.
    """
    above, slash, below = text.partition("/")
    return float(above) / float(below) if slash else float(above)
