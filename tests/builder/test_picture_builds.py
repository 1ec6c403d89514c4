"""Builds of models that take pictures: what is declared held against model and sets, and the golden picture."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from pydantic import ValidationError

from edgesmith_builder.contract import Artifact, Classification, Detection, Picture
from edgesmith_builder.dataset import Samples
from edgesmith_builder.errors import NoCandidate, RequestInvalid
from edgesmith_builder.oci import Reference, Registry
from edgesmith_builder.picture import declared_picture, golden_picture
from edgesmith_runtime import picture as runtime
from edgesmith_runtime.loading import load
from edgesmith_runtime.tensors import TensorSpec

LABELS = ("good", "scratch", "dent", "hole")
DECLARED = Picture(scale=1 / 255, labels=LABELS, classification=Classification(activation="Softmax", top_k=2))


async def unpacked(image: str, folder: Path) -> Path:
    """The bundle of an image."""
    reference = Reference.parse(image)
    async with Registry(plain_http=True) as client:
        manifest = await client.manifest(reference)
        assert manifest is not None
        for descriptor in manifest.layers[-2:]:
            with tarfile.open(fileobj=io.BytesIO(await client.read_blob(reference.repository, descriptor))) as archive:
                archive.extractall(folder, filter="data")
    return folder / "model"


# Whole builds ---------------------------------------------------------------------------------------------------------


async def test_a_build_carries_what_is_declared_with_an_answer_that_is_replayed(world: Any, tmp_path: Path) -> None:
    request = world.request(picture=DECLARED)
    assert request.build.key != world.request().build.key
    first, second = await world.build(request), await world.build(world.request(picture=DECLARED))
    assert first.image.partition("@")[2] == second.image.partition("@")[2], "the same request gives the same bytes"
    folder = await unpacked(first.image, tmp_path)
    loaded = load(folder, threads=1, max_batch=4)
    assert loaded.bundle.precision == "int8"
    pipeline, found = loaded.model.pipeline, loaded.bundle.picture
    assert pipeline is not None
    assert found is not None
    assert (found.width, found.height, found.layout, found.channels) == (8, 8, "NCHW", "Gray")
    assert (found.input, found.outputs, pipeline.labels) == ("image", ("scores",), LABELS)
    assert found.recorded is not None
    assert 0 < found.recorded.tolerance <= 0.25
    assert len(found.recorded.answer["labels"]) == 2
    # The golden picture is a sample of the evaluation set, twice as large.
    with Image.open(folder / "picture.png") as image:
        assert (image.size, image.mode) == ((16, 16), "L")
        pixels = np.asarray(image)[::2, ::2]
    samples = np.load(io.BytesIO(world.store.read(world.evaluation)))["image"]
    assert min(np.abs(samples[:, 0] * 255 - pixels).max(axis=(1, 2))) <= 0.5001
    # What a client asks comes out as from the model asked by hand.
    prepared = pipeline.prepare(memoryview((folder / "picture.png").read_bytes()))
    scores = loaded.model.engine.infer(prepared.feed)["scores"][0]
    answer = pipeline.answer({"scores": scores[None]}, prepared.placed)["labels"]
    powers = np.exp(scores - scores.max())
    assert answer[0]["score"] == pytest.approx(float(powers.max() / powers.sum()), abs=1e-5)
    assert answer[0]["label"] == LABELS[int(scores.argmax())]


async def test_the_inputs_layer_holds_the_picture_and_stays_with_another_model(
    world: Any, make_classifier: Any, tmp_path: Path
) -> None:
    other = make_classifier()
    other.graph.initializer[1].raw_data = bytes(other.graph.initializer[1].raw_data[:-4]) + np.float32(0.5).tobytes()
    uri = world.store.put("surface/other.onnx", other.SerializeToString())
    first = await world.manifest(await world.build(world.request(picture=DECLARED, precisions=("fp32",))))
    built = await world.build(world.request(picture=DECLARED, precisions=("fp32",), source=Artifact(uri=uri)))
    second = await world.manifest(built)
    assert first.layers[-2] == second.layers[-2]
    assert first.layers[-1] != second.layers[-1]
    reference = Reference.parse(built.image)
    async with Registry(plain_http=True) as client:
        lower = await client.read_blob(reference.repository, second.layers[-2])
    with tarfile.open(fileobj=io.BytesIO(lower)) as archive:
        assert archive.getnames() == ["model", "model/inputs.npz", "model/picture.png"]
    assert "picture.png" in {path.name for path in (await unpacked(built.image, tmp_path)).iterdir()}


async def test_without_a_set_the_golden_picture_is_a_pattern(world: Any, tmp_path: Path) -> None:
    request = world.request(calibration=None, evaluation=None, precisions=("fp32",), picture=DECLARED)
    folder = await unpacked((await world.build(request)).image, tmp_path)
    assert load(folder, threads=1, max_batch=1).model.pipeline is not None
    with Image.open(folder / "picture.png") as image:
        assert np.asarray(image).std() > 20


async def test_without_a_declaration_the_bundle_says_nothing_of_pictures(world: Any, tmp_path: Path) -> None:
    folder = await unpacked((await world.build(world.request(precisions=("fp32",)))).image, tmp_path)
    assert "picture" not in json.loads((folder / "bundle.json").read_text())
    assert not (folder / "picture.png").exists()


async def test_levels_that_do_not_fit_the_set_stop_the_build(world: Any) -> None:
    """The classic: the set is of 0 to 1, and the declaration leaves grey levels as they are, or the other way round."""
    with pytest.raises(RequestInvalid) as error:
        await world.build(world.request(picture=DECLARED.model_copy(update={"scale": 1.0})))
    assert (
        "scale 1, mean 0 and deviation 1, by which the samples of spec.evaluation would come from grey levels"
        in str(error.value)
    )
    assert "to 0.9" in str(error.value)


async def test_labels_that_are_too_few_are_said_of_each_candidate(world: Any) -> None:
    short = DECLARED.model_copy(update={"labels": LABELS[:3]})
    with pytest.raises(NoCandidate, match="has 4 scores and there are 3 labels; one for each was expected"):
        await world.build(world.request(picture=short, precisions=("fp32",)))


async def test_labels_that_the_model_has_otherwise_are_refused(world: Any, make_classifier: Any) -> None:
    model = make_classifier()
    onnx.helper.set_model_props(model, {"labels": '["a","b","c","d"]'})
    uri = world.store.put("surface/otherwise.onnx", model.SerializeToString())
    with pytest.raises(RequestInvalid, match=r"spec\.picture\.labels names 4 classes and the model 4 others itself"):
        await world.build(world.request(picture=DECLARED, source=Artifact(uri=uri)))


async def test_a_detector_is_built_with_the_boxes_that_it_finds_and_scored_by_them(world: Any, tmp_path: Path) -> None:
    from pictures import squares  # noqa: PLC0415 - of the test services

    found = squares(tmp_path / "squares.onnx")
    uri = world.store.put("squares/model.onnx", found.read_bytes())
    inputs, labels = np.zeros((6, 3, 64, 64), np.float32), np.zeros((6, 1, 5), np.float32)
    for number in range(6):
        inputs[number, number % 3, 8 * number : 8 * number + 16, 16:32] = 0.9
        labels[number] = (16, 8 * number, 32, 8 * number + 16, number % 3)
    evaluation = world.store.put("squares/evaluation.npz", _npz(image=inputs, labels=labels))
    detection = Detection(form="CentreSize", order="ChannelsFirst", score_threshold=0.6)
    picture = Picture(scale=1 / 255, resize="Letterbox", fill=0, labels=("r", "g", "b"), detection=detection)
    changes = {"source": Artifact(uri=uri), "calibration": None, "evaluation": Artifact(uri=evaluation)}
    asked = world.request(**changes, picture=picture, precisions=("fp32",), metric="MeanAveragePrecision")
    built = await world.build(asked)
    assert (built.report.metric, built.report.reference_accuracy) == ("mAP@0.5", 1.0)
    bundle = load(await unpacked(built.image, tmp_path / "image"), threads=1, max_batch=1).bundle
    assert bundle.picture is not None
    assert bundle.picture.recorded is not None
    (box,) = bundle.picture.recorded.answer["boxes"]
    assert box["index"] == 0
    assert box["score"] == pytest.approx(0.9, abs=0.03)


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **arrays)
    return buffer.getvalue()


# What is declared, against the model ----------------------------------------------------------------------------------

OUTPUTS = (TensorSpec("scores", "FP32", (-1, 4)), TensorSpec("words", "BYTES", (-1,)))


def spec(*shape: int, datatype: str = "FP32") -> tuple[TensorSpec, ...]:
    return (TensorSpec("image", datatype, shape),)


@pytest.mark.parametrize(
    ("inputs", "changes", "layout", "size", "channels"),
    [
        (spec(-1, 3, 224, 256), {}, "NCHW", (256, 224), "RGB"),
        (spec(1, 224, 256, 3), {}, "NHWC", (256, 224), "RGB"),
        (spec(-1, 1, 28, 20), {}, "NCHW", (20, 28), "Gray"),
        (spec(3, 8, 9), {}, "CHW", (9, 8), "RGB"),
        (spec(8, 9, 3, datatype="UINT8"), {"channels": "BGR"}, "HWC", (9, 8), "BGR"),
        (spec(1, 8, 9), {"layout": "NHW"}, "NHW", (9, 8), "Gray"),
        (spec(8, 9, datatype="INT8"), {"layout": "HW"}, "HW", (9, 8), "Gray"),
        (spec(-1, 3, -1, -1), {"width": 640, "height": 480}, "NCHW", (640, 480), "RGB"),
        (spec(-1, -1, -1, -1), {"layout": "NHWC", "width": 6, "height": 5, "channels": "Gray"}, "NHWC", (6, 5), "Gray"),
        (spec(-1, 3, 3, 1), {"channels": "Gray"}, "NHWC", (3, 3), "Gray"),
        (spec(-1, 1, 224, 3), {"channels": "RGB"}, "NHWC", (224, 1), "RGB"),
    ],
)
def test_what_the_model_says_need_not_be_declared(
    inputs: Any, changes: dict[str, Any], layout: str, size: tuple[int, int], channels: str
) -> None:
    asked = Picture(classification=Classification(), **changes)
    found = declared_picture(asked, inputs, OUTPUTS, None)
    assert (found.layout, (found.width, found.height), found.channels) == (layout, size, channels)
    assert found.outputs == ("scores",)


@pytest.mark.parametrize(
    ("inputs", "changes", "says"),
    [
        (spec(1, 3, 8, 8) * 2, {}, "spec.picture is given and the model takes 2 inputs (image, image)"),
        (spec(1, 3, 8, 8, datatype="BYTES"), {}, "is BYTES[1,3,8,8]; an input of numbers was expected"),
        (
            spec(1, 5, 8, 8),
            {},
            "spec.picture.layout is absent and the model's input 'image' is FP32[1,5,8,8], in which",
        ),
        (spec(8, 8), {}, "spec.picture.layout is absent"),
        (spec(1, 3, 8, 8), {"layout": "CHW"}, "a layout of 4 axes was expected"),
        (spec(8, 3, 9, 9), {}, "8 pictures at once; a model that takes one was expected"),
        (spec(1, 3, -1, 9), {}, "spec.picture.height is absent and the model's input 'image' is FP32[1,3,-1,9], which"),
        (
            spec(1, 3, 9, 9),
            {"width": 8},
            "spec.picture.width is 8 and the model's input 'image' is FP32[1,3,9,9]; 9 was",
        ),
        (spec(1, 3, 9, 9), {"channels": "Gray"}, "spec.picture.layout is absent"),
        (spec(1, 3, 9, 9), {"channels": "Gray", "layout": "NCHW"}, "with 3 where NCHW has channels; 1 was expected"),
        (spec(1, -1, 9, 9), {"layout": "NCHW"}, "spec.picture.channels is absent"),
        (spec(1, 3, 9, 9), {"mean": (1.0, 2.0)}, "spec.picture.mean has 2 numbers and the input 3 channels; 1 or 3"),
        (spec(1, 3, 9, 9), {"deviation": (1.0, 2.0, 0.0)}, "is 0; numbers other than 0 were expected"),
        (spec(1, 3, 9, 9), {"scale": 0.0}, "is 0; numbers other than 0 were expected"),
        (spec(1, 3, 9, 9), {"shorter_side": 20}, "spec.picture.shorterSide is 20 and spec.picture.resize Stretch"),
        (spec(1, 3, 9, 9), {"shorter_side": 8, "resize": "Crop"}, "9 or more was expected"),
        (
            spec(1, 3, 9, 9),
            {"classification": Classification(output="sores")},
            "spec.picture.classification.output is 'sores'; one of the model's outputs with numbers was expected: sco",
        ),
        (
            spec(1, 3, 9, 9),
            {"classification": Classification(output="words")},
            "spec.picture.classification.output is 'words'",
        ),
        (
            spec(1, 3, 9, 9),
            {"classification": None, "detection": Detection(classes="scores")},
            "spec.picture.detection.classes is scores and scores is absent",
        ),
        (
            spec(1, 3, 9, 9),
            {"classification": None, "detection": Detection(scores="scores", classes="scores", objectness=True)},
            "spec.picture.detection.objectness is true and classes is scores",
        ),
        (
            spec(1, 3, 9, 9),
            {
                "classification": None,
                "detection": Detection(scores="scores", classes="scores", activation="Softmax"),
            },
            "spec.picture.detection.activation is Softmax and classes is scores, so a box has one score",
        ),
        (
            spec(1, 3, 9, 9),
            {"classification": None, "detection": Detection(boxes="x")},
            "spec.picture.detection.boxes is 'x'",
        ),
    ],
)
def test_what_does_not_fit_the_model_is_one_sentence(inputs: Any, changes: dict[str, Any], says: str) -> None:
    asked = Picture(**({"classification": Classification()} | changes))
    with pytest.raises(RequestInvalid) as error:
        declared_picture(asked, inputs, OUTPUTS, None)
    assert says in str(error.value)


def test_labels_and_boxes_are_not_declared_together() -> None:
    for wrong in ({}, {"classification": Classification(), "detection": Detection()}):
        with pytest.raises(ValidationError, match="both classification and detection, or neither"):
            Picture(**wrong)


NORMAL = Picture(
    scale=1 / 255, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225), classification=Classification()
)


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        (lambda pixels: (pixels / 255 - 0.45) / 0.225, True),
        (lambda pixels: pixels / 255, False),  # 0 to 1, where -2 to 2.6 is declared: grey levels from 103 to 179
        (lambda pixels: pixels, False),
        (lambda pixels: pixels * 0, False),
    ],
)
def test_a_set_is_held_against_what_grey_levels_become(values: Any, fits: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    pixels = np.random.default_rng(3).integers(0, 256, (9, 3, 12, 10)).astype(np.float32)
    declared = declared_picture(NORMAL, spec(-1, 3, 12, 10), OUTPUTS, None)
    samples = Samples({"image": values(pixels).astype(np.float32)}, {"image": 4}, batches=True)
    if fits or values(pixels).max() == 1:
        assert golden_picture(declared, samples, "spec.evaluation").declared == declared
    else:
        with pytest.raises(RequestInvalid, match="would come from grey levels"):
            golden_picture(declared, samples, "spec.evaluation")


def test_a_large_golden_picture_is_made_small() -> None:
    declared = declared_picture(NORMAL, spec(-1, 3, 640, 480), OUTPUTS, None)
    data = golden_picture(declared, None, "").data
    assert len(data) < 66_000
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (120, 160)


def test_the_tolerance_follows_what_golden_answers_may_differ_by(tmp_path: Path) -> None:
    """Eight bits may be off by more, and softmax makes more of it."""
    from edgesmith_builder.picture import recorded_picture  # noqa: PLC0415 - the one user
    from edgesmith_runtime.engine import load_engine  # noqa: PLC0415 - likewise

    kind = TensorProto.FLOAT
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["p"]), helper.make_node("Flatten", ["p"], ["scores"])]
    graph = helper.make_graph(
        nodes,
        "means",
        [helper.make_tensor_value_info("image", kind, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("scores", kind, ["n", 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    engine = load_engine("onnxruntime", tmp_path / "m.onnx", threads=1)
    asked = Picture(scale=0.05, classification=Classification(activation="Softmax"))
    golden = golden_picture(declared_picture(asked, engine.inputs, engine.outputs, None), None, "")
    tolerances = {
        precision: recorded_picture(engine, golden, None, lambda _: None, precision).recorded
        for precision in ("fp32", "int8")
    }
    engine.close()
    assert all(isinstance(one, runtime.Recorded) for one in tolerances.values())
    fp32, int8 = (one.tolerance for one in tolerances.values() if one is not None)
    assert int8 > fp32
    assert fp32 <= 1 / 32
