"""What ``spec.picture`` declares, held against the model and completed from its inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence

from edgesmith_builder.contract import Classification, Detection, Picture
from edgesmith_builder.errors import RequestInvalid
from edgesmith_runtime import picture as runtime
from edgesmith_runtime.tensors import ANY_SIZE, DTYPES, TensorSpec, shape_text

_DEPTHS = (1, 3)
_SIZES = {"W": "width", "H": "height"}


def declared_picture(
    asked: Picture, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], names: Sequence[str] | None
) -> runtime.Picture:
    """Hold a declaration against the model, and fill in what the model says.

    Args:
        asked: What is declared.
        inputs: The model's inputs.
        outputs: The model's outputs.
        names: Names of classes that the model has itself.

    Raises:
        RequestInvalid: naming the field, its value and what the model has.
    """
    if len(inputs) != 1:
        raise RequestInvalid(
            f"spec.picture is given and the model takes {len(inputs)} inputs "
            f"({', '.join(one.name for one in inputs)}); a model with one input was expected"
        )
    (spec,) = inputs
    if DTYPES[spec.datatype].kind not in "fiu":
        raise RequestInvalid(f"spec.picture is given and {_said(spec)}; an input of numbers was expected")
    layout = asked.layout or _layout(spec, asked.channels)
    _check_layout(spec, layout)
    width, height = (_size(spec, layout, axis, getattr(asked, _SIZES[axis])) for axis in "WH")
    channels = _channels(spec, layout, asked.channels)
    _check_numbers(asked, 1 if channels == "Gray" else 3)
    _check_resize(asked, width, height)
    if names and asked.labels and tuple(names) != asked.labels:
        raise RequestInvalid(
            f"spec.picture.labels names {len(asked.labels)} classes and the model {len(names)} others itself; the same "
            "names were expected, or no spec.picture.labels"
        )
    return runtime.Picture(
        input=spec.name,
        layout=layout,
        width=width,
        height=height,
        resize=asked.resize,
        shorter_side=asked.shorter_side,
        fill=asked.fill,
        interpolation=asked.interpolation,
        channels=channels,
        scale=asked.scale,
        mean=asked.mean,
        deviation=asked.deviation,
        labels=asked.labels,
        classification=_classification(asked.classification, outputs) if asked.classification else None,
        detection=_detection(asked.detection, outputs) if asked.detection else None,
    )


def _layout(spec: TensorSpec, channels: str | None) -> runtime.Layout:
    """The order of an input's axes, seen from its shape."""
    depths = _DEPTHS if channels is None else ((1,) if channels == "Gray" else (3,))
    shape = spec.shape
    candidates: dict[int, tuple[tuple[runtime.Layout, int], ...]] = {
        4: (("NCHW", 1), ("NHWC", 3)),
        3: (("CHW", 0), ("HWC", 2)),
    }
    for layout, axis in candidates.get(len(shape), ()):
        if shape[axis] in depths:
            return layout
    raise RequestInvalid(
        f"spec.picture.layout is absent and {_said(spec)}, in which no axis is seen to be "
        f"{' or '.join(map(str, depths))} channels; one of {', '.join(runtime.LAYOUTS)} was expected"
    )


def _check_layout(spec: TensorSpec, layout: runtime.Layout) -> None:
    if len(layout) != len(spec.shape):
        raise RequestInvalid(
            f"spec.picture.layout is {layout} and {_said(spec)}; a layout of {len(spec.shape)} axes was expected"
        )
    if "N" in layout and spec.shape[0] not in (ANY_SIZE, 1):
        raise RequestInvalid(
            f"spec.picture is given and {_said(spec)}, {spec.shape[0]} pictures at once; a model that takes one was "
            "expected"
        )


def _size(spec: TensorSpec, layout: runtime.Layout, axis: str, asked: int | None) -> int:
    own, field = spec.shape[layout.index(axis)], f"spec.picture.{_SIZES[axis]}"
    if own == ANY_SIZE and asked is None:
        raise RequestInvalid(f"{field} is absent and {_said(spec)}, which leaves it open; a number was expected")
    if own != ANY_SIZE and asked not in (None, own):
        raise RequestInvalid(f"{field} is {asked} and {_said(spec)}; {own} was expected, or none")
    return own if asked is None else asked


def _channels(spec: TensorSpec, layout: runtime.Layout, asked: runtime.Channels | None) -> runtime.Channels:
    own = spec.shape[layout.index("C")] if "C" in layout else 1
    if asked is None and own not in _DEPTHS:
        raise RequestInvalid(f"spec.picture.channels is absent and {_said(spec)}; RGB, BGR or Gray was expected")
    found: runtime.Channels = asked or ("Gray" if own == 1 else "RGB")
    depth = 1 if found == "Gray" else 3
    if own not in (ANY_SIZE, depth):
        raise RequestInvalid(
            f"spec.picture.channels is {found} and {_said(spec)}, with {own} where {layout} has channels; {depth} was "
            "expected there"
        )
    return found


def _check_numbers(asked: Picture, depth: int) -> None:
    for field, values in (("mean", asked.mean), ("deviation", asked.deviation)):
        if len(values) not in (1, depth):
            raise RequestInvalid(
                f"spec.picture.{field} has {len(values)} numbers and the input {depth} channels; 1 or {depth} was "
                "expected"
            )
    if asked.scale == 0 or 0 in asked.deviation:
        raise RequestInvalid("spec.picture.scale or spec.picture.deviation is 0; numbers other than 0 were expected")


def _check_resize(asked: Picture, width: int, height: int) -> None:
    if asked.shorter_side is None:
        return
    if asked.resize != "Crop":
        raise RequestInvalid(
            f"spec.picture.shorterSide is {asked.shorter_side} and spec.picture.resize {asked.resize}; Crop was "
            "expected"
        )
    if asked.shorter_side < max(width, height):
        raise RequestInvalid(
            f"spec.picture.shorterSide is {asked.shorter_side} and the model's input is {width} wide and {height} "
            f"high; {max(width, height)} or more was expected"
        )


def _classification(asked: Classification, outputs: Sequence[TensorSpec]) -> runtime.Classification:
    name = _output("classification.output", asked.output or outputs[0].name, outputs)
    return runtime.Classification(name, asked.activation, asked.scale, asked.top_k)


def _detection(asked: Detection, outputs: Sequence[TensorSpec]) -> runtime.Detection:
    own = {
        field: _output(f"detection.{field}", name, outputs)
        for field in ("boxes", "scores", "classes")
        if (name := getattr(asked, field)) is not None
    }
    if asked.objectness and asked.classes is not None:
        raise RequestInvalid(
            f"spec.picture.detection.objectness is true and classes is {asked.classes}, so a box has one score; false "
            "was expected"
        )
    if asked.activation == "Softmax" and asked.classes is not None:
        raise RequestInvalid(
            f"spec.picture.detection.activation is Softmax and classes is {asked.classes}, so a box has one score; "
            "Sigmoid or None was expected"
        )
    if asked.classes is not None and asked.scores is None:
        raise RequestInvalid(
            f"spec.picture.detection.classes is {asked.classes} and scores is absent; the output with the scores was "
            "expected"
        )
    return runtime.Detection(
        boxes=own.get("boxes", outputs[0].name),
        scores=own.get("scores"),
        classes=own.get("classes"),
        form=asked.form,
        unit=asked.unit,
        order=asked.order,
        objectness=asked.objectness,
        background=asked.background,
        activation=asked.activation,
        score_threshold=asked.score_threshold,
        iou_threshold=asked.iou_threshold,
        suppression=asked.suppression,
        max_boxes=asked.max_boxes,
    )


def _output(field: str, name: str, outputs: Sequence[TensorSpec]) -> str:
    known = {one.name: one for one in outputs}
    if name not in known or DTYPES[known[name].datatype].kind not in "fiu":
        raise RequestInvalid(
            f"spec.picture.{field} is {name!r}; one of the model's outputs with numbers was expected: "
            f"{', '.join(known)}"
        )
    return name


def _said(spec: TensorSpec) -> str:
    return f"the model's input {spec.name!r} is {spec.datatype}{shape_text(spec.shape)}"
