"""How a picture becomes a model's input, and what its answer means: what ``spec.picture`` says, and ``bundle.json``.

The runtime's `edgesmith_runtime.picture` does what is said here, at build, self-test and serve time; the operator has
these types without it.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from edgesmith_builder.contract.wire import Wire

Activation = Literal["None", "Softmax", "Sigmoid"]
Channels = Literal["RGB", "BGR", "Gray"]
Form = Literal["Corners", "CornersYX", "CornerSize", "CentreSize"]
Interpolation = Literal["Nearest", "Bilinear", "Bicubic", "Area"]
Layout = Literal["NCHW", "NHWC", "NHW", "CHW", "HWC", "HW"]
Order = Literal["BoxesFirst", "ChannelsFirst"]
Resize = Literal["Stretch", "Crop", "Letterbox"]
Suppression = Literal["PerClass", "AllClasses", "None"]
Unit = Literal["Pixels", "Normalised"]


class Classification(Wire):
    """An output that has one score for each class."""

    output: str | None = None
    """Absent: the model's first."""
    activation: Activation = "None"
    scale: float = 1.0
    top_k: int = Field(5, ge=1, le=1000)


class Detection(Wire):
    """Outputs that have boxes and their scores; `edgesmith_runtime.picture.Detection` says what each field means."""

    boxes: str | None = None
    """Absent: the model's first output."""
    scores: str | None = None
    classes: str | None = None
    form: Form = "Corners"
    unit: Unit = "Pixels"
    order: Order = "BoxesFirst"
    objectness: bool = False
    background: bool = False
    activation: Activation = "None"
    score_threshold: float = Field(0.25, ge=0, le=1)
    iou_threshold: float = Field(0.45, ge=0, le=1)
    suppression: Suppression = "PerClass"
    max_boxes: int = Field(100, ge=1, le=1000)


class Picture(Wire):
    """How a picture becomes the model's input, and what its answer means."""

    layout: Layout | None = None
    """Absent: seen from the input's shape, as are width, height and channels."""
    width: int | None = Field(None, ge=1, le=8192)
    height: int | None = Field(None, ge=1, le=8192)
    channels: Channels | None = None
    resize: Resize = "Stretch"
    shorter_side: int | None = Field(None, ge=1, le=8192)
    fill: int = Field(114, ge=0, le=255)
    interpolation: Interpolation = "Bilinear"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    labels: tuple[str, ...] = ()
    classification: Classification | None = None
    detection: Detection | None = None

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        if (self.classification is None) == (self.detection is None):
            raise ValueError("picture has both classification and detection, or neither; one of them was expected")
        return self
