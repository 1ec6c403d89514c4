"""What a bundle says of pictures: how one becomes the model's input, and what the model's answer means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "GOLDEN_PICTURE",
    "LAYOUTS",
    "Activation",
    "Channels",
    "Classification",
    "Detection",
    "Form",
    "Interpolation",
    "Layout",
    "Order",
    "Picture",
    "PictureError",
    "Recorded",
    "Resize",
    "Suppression",
    "Unit",
]

GOLDEN_PICTURE: Final = "picture.png"
"""The file of the golden picture in a bundle."""

Activation = Literal["None", "Softmax", "Sigmoid"]
Channels = Literal["RGB", "BGR", "Gray"]
Form = Literal["Corners", "CornersYX", "CornerSize", "CentreSize"]
Interpolation = Literal["Nearest", "Bilinear", "Bicubic", "Area"]
Layout = Literal["NCHW", "NHWC", "NHW", "CHW", "HWC", "HW"]
Order = Literal["BoxesFirst", "ChannelsFirst"]
Resize = Literal["Stretch", "Crop", "Letterbox"]
Suppression = Literal["PerClass", "AllClasses", "None"]
Unit = Literal["Pixels", "Normalised"]

LAYOUTS: Final[tuple[Layout, ...]] = ("NCHW", "NHWC", "NHW", "CHW", "HWC", "HW")
"""The order of an input's axes: N is the batch, C the channels, H the rows and W the columns."""


class PictureError(ValueError):
    """A declaration cannot be used; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Classification:
    """An output that has one score for each class.

    Attributes:
        output: The output's name.
        activation: What makes scores of its numbers.
        scale: What its numbers are multiplied by before that: ``1 / 256`` for bytes that stand for 0 to 1.
        top_k: How many of the best classes are answered.
    """

    output: str
    activation: Activation
    scale: float
    top_k: int


@dataclass(frozen=True, slots=True)
class Detection:
    """Outputs that have boxes and their scores.

    Attributes:
        boxes: The output with the boxes: four numbers each.
        scores: The output with their scores; None: they are behind the four numbers.
        classes: The output with the number of each box's class; None: there is a score for each class.
        form: What the four numbers are.
        unit: What they count: pixels of the model's input, or shares of its sides.
        order: Which axis comes first: boxes, or their numbers.
        objectness: Whether a score of the box itself stands before those of the classes, which it multiplies.
        background: Whether the first class stands for no object.
        activation: What makes scores of numbers, along the classes.
        score_threshold: The least score of a box that is answered.
        iou_threshold: By how much two boxes may overlap; above, the one with the lower score goes.
        suppression: Between which boxes overlaps count.
        max_boxes: How many boxes are answered at most.
    """

    boxes: str
    scores: str | None
    classes: str | None
    form: Form
    unit: Unit
    order: Order
    objectness: bool
    background: bool
    activation: Activation
    score_threshold: float
    iou_threshold: float
    suppression: Suppression
    max_boxes: int

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs that it needs, each once."""
        return tuple(dict.fromkeys(name for name in (self.boxes, self.scores, self.classes) if name is not None))


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the build was answered to the golden picture.

    Attributes:
        answer: The labels or boxes, as a client gets them.
        tolerance: By how much a score may differ.
    """

    answer: Mapping[str, Any]
    tolerance: float


@dataclass(frozen=True, slots=True)
class Picture:
    """How a picture becomes the model's input, and what its answer means.

    A pixel's value ``p`` from 0 to 255 becomes ``(p * scale - mean) / deviation``, in each channel with its own mean
    and deviation; for an input of whole numbers it is rounded and bounded by what the datatype holds.

    Attributes:
        input: The model's input.
        layout: The order of its axes.
        width: Its width in pixels.
        height: Its height in pixels.
        resize: How a picture of another shape comes to this size.
        shorter_side: With `Crop`, what the picture's shorter side becomes before its middle is cut out; None: just as
            much as covers the input.
        fill: With `Letterbox`, the grey level beside the picture.
        interpolation: What a pixel is computed from.
        channels: What its channels are.
        scale: As above.
        mean: As above, one number or one a channel.
        deviation: As above, likewise.
        labels: Names of classes, where the model has none itself.
        classification: The output with scores of classes; None where there are boxes.
        detection: The outputs with boxes; None where there are classes.
        recorded: The answer to the golden picture; None before it is recorded.
    """

    input: str
    layout: Layout
    width: int
    height: int
    resize: Resize
    shorter_side: int | None
    fill: int
    interpolation: Interpolation
    channels: Channels
    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    labels: tuple[str, ...]
    classification: Classification | None
    detection: Detection | None
    recorded: Recorded | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that an answer is made of."""
        if self.classification is not None:
            return (self.classification.output,)
        return self.detection.outputs if self.detection is not None else ()

    @property
    def depth(self) -> int:
        """How many channels the input has."""
        return 1 if self.channels == "Gray" else 3
