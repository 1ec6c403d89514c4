"""Small models that see colours, bundles of them that take pictures, and pictures."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper
from PIL import Image
from toys import onnx_file

from edgesmith_runtime.bundle import Bundle, write_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.picture import Classification, Detection, Picture, Pipeline, Recorded
from edgesmith_runtime.picture.golden import png_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

COLOURS = ("red", "green", "blue")

CLASSES = Classification("scores", "Softmax", 1.0, 3)

BOXES = Detection(
    boxes="found",
    scores=None,
    classes=None,
    form="CentreSize",
    unit="Pixels",
    order="ChannelsFirst",
    objectness=False,
    background=False,
    activation="None",
    score_threshold=0.6,
    iou_threshold=0.45,
    suppression="PerClass",
    max_boxes=10,
)

CLASSIFIED = Picture(
    input="image",
    layout="NCHW",
    width=16,
    height=16,
    resize="Stretch",
    shorter_side=None,
    fill=0,
    interpolation="Bilinear",
    channels="RGB",
    scale=1 / 25.5,
    mean=(0.0,),
    deviation=(1.0,),
    labels=(),
    classification=CLASSES,
    detection=None,
)
"""For `colours`."""

DETECTED = replace(
    CLASSIFIED, width=64, height=64, resize="Letterbox", scale=1 / 255, classification=None, detection=BOXES
)
"""For `squares`."""


def colours(path: Path) -> Path:
    """A model that says how red, green and blue a picture is: ``image`` [n,3,16,16] to ``scores`` [n,3]."""
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["pooled"])]
    nodes.append(helper.make_node("Flatten", ["pooled"], ["scores"]))
    kind = TensorProto.FLOAT
    return onnx_file(path, nodes, {"image": (kind, ("n", 3, 16, 16))}, {"scores": (kind, ("n", 3))})


def squares(path: Path) -> Path:
    """A model that finds squares of 16 pixels: ``image`` [1,3,64,64] to ``found`` [1,7,49], boxes and their colours."""
    down, across = np.mgrid[0:7, 0:7].reshape(2, -1) * 8 + 8
    sides = np.full(49, 16)
    boxes = np.stack([across, down, sides, sides])[None].astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=[16, 16], strides=[8, 8]),
        helper.make_node("Reshape", ["means", "w1"], ["scores"]),
        helper.make_node("Concat", ["w0", "scores"], ["found"], axis=1),
    ]
    kind = TensorProto.FLOAT
    weights = (boxes, np.array([1, 3, 49], np.int64))
    return onnx_file(path, nodes, {"image": (kind, (1, 3, 64, 64))}, {"found": (kind, (1, 7, 49))}, weights)


def picture_bundle(
    folder: Path, model: Path, picture: Picture, labels: Sequence[str] = COLOURS, engine_name: str = "onnxruntime"
) -> Bundle:
    """A bundle of a model that takes pictures; its golden picture is a red one."""
    engine = load_engine(engine_name, model, threads=1)
    spec = engine.inputs[0]
    pipeline = Pipeline(picture, spec.datatype, labels)
    pixels = np.zeros((picture.height * 2, picture.width * 2, picture.depth), np.uint8)
    pixels[16:48, 16:48, 0] = 250
    data = png_bytes(pixels)
    prepared = pipeline.prepare(memoryview(data))
    feed = dict(prepared.feed)
    answers = engine.infer(feed)
    recorded = Recorded(pipeline.answer(answers, prepared.placed), 1 / 64)
    golden = Golden.of(feed, answers, 0.01)
    engine.close()
    return write_bundle(
        folder,
        engine=engine_name,
        precision="fp32",
        model_file=model,
        inputs=(spec,),
        outputs=engine.outputs,
        labels=labels or None,
        golden=golden,
        picture=(replace(picture, recorded=recorded), data),
    )


def painted(width: int, height: int, *patches: tuple[tuple[int, int, int, int], tuple[int, int, int]]) -> NDArray[Any]:
    """A black picture ``[height, width, 3]`` with patches: left, top, right, bottom and a colour."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for (left, top, right, bottom), colour in patches:
        pixels[top:bottom, left:right] = colour
    return pixels


def png(pixels: NDArray[Any], **options: Any) -> bytes:
    """Pixels as a PNG."""
    return saved(Image.fromarray(pixels), "PNG", **options)


def jpeg(pixels: NDArray[Any], **options: Any) -> bytes:
    """Pixels as a JPEG of high quality, without thinned-out colours."""
    return saved(Image.fromarray(pixels), "JPEG", **({"quality": 95, "subsampling": 0} | options))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a file."""
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def scene(width: int, height: int, seed: int = 0) -> NDArray[Any]:
    """Something like a photograph: smooth areas, edges and noise, ``[height, width, 3]``."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3)).astype(np.float64)
    smooth = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    return np.clip(smooth + rng.normal(size=smooth.shape) * 6, 0, 255).astype(np.uint8)


def seen_outputs(picture: Picture, corners: NDArray[Any], scores: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What a model would answer that sees boxes (in the input's pixels) with scores of classes, as declared."""
    sought = picture.detection
    assert sought is not None
    left, top, right, bottom = corners.T
    if sought.unit == "Normalised":
        left, right = left / picture.width, right / picture.width
        top, bottom = top / picture.height, bottom / picture.height
    forms = {
        "Corners": (left, top, right, bottom),
        "CornersYX": (top, left, bottom, right),
        "CornerSize": (left, top, right - left, bottom - top),
        "CentreSize": ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top),
    }
    numbers = np.stack(forms[sought.form], axis=1)
    raw = scores
    if sought.activation == "Softmax":
        rest = np.maximum(1e-9, 1 - raw.sum(axis=1, keepdims=True))
        raw = np.log(np.hstack([rest, raw]) + 1e-12) + 3
    else:
        raw = np.hstack([np.full((len(raw), int(sought.background)), 0.99), raw])
        if sought.objectness:
            raw = np.hstack([np.full((len(raw), 1), 0.8), raw / 0.8])
        if sought.activation == "Sigmoid":
            raw = np.log(raw / (1 - raw))

    def turned(array: NDArray[Any]) -> NDArray[np.float32]:
        return (array.T if sought.order == "ChannelsFirst" else array)[None].astype(np.float32)

    if sought.classes is not None:
        best = raw[:, int(sought.background) :].argmax(axis=1)
        own = raw[np.arange(len(raw)), best + sought.background]
        numbered = (best + sought.background).astype(np.float32)
        return {"boxes": turned(numbers), "scores": own[None].astype(np.float32), "classes": numbered[None]}
    if sought.scores is not None:
        return {"boxes": turned(numbers), "scores": turned(raw)}
    return {"boxes": turned(np.hstack([numbers, raw]))}


def ways() -> list[Detection]:
    """Declarations of boxes, in every form."""
    plain = replace(BOXES, boxes="boxes", form="Corners", order="BoxesFirst", score_threshold=0.3)
    found = [
        replace(plain, form=form, unit=unit, order=order)
        for form in ("Corners", "CornersYX", "CornerSize", "CentreSize")
        for unit in ("Pixels", "Normalised")
        for order in ("BoxesFirst", "ChannelsFirst")
    ]
    for order in ("BoxesFirst", "ChannelsFirst"):
        apart = replace(plain, scores="scores", order=order)
        found += [
            replace(plain, objectness=True, order=order),
            replace(plain, activation="Sigmoid", order=order),
            replace(plain, activation="Sigmoid", objectness=True, order=order),
            replace(plain, background=True, order=order),
            apart,
            replace(apart, activation="Softmax", background=True),
            replace(apart, classes="classes"),
            replace(apart, classes="classes", background=True),
        ]
    return found


def named_way(sought: Detection) -> str:
    """A declaration's name in a list of tests."""
    said = (sought.form, sought.unit, sought.order, sought.activation, sought.scores, sought.classes)
    return "-".join(map(str, (*said, sought.objectness, sought.background)))
