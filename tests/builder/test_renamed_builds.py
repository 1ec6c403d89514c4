"""Builds of alternatives whose tensors came under other names: requests, sets and reports know those of spec.source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import skops.io
from candidates import FLOAT, INT64, made, node, numbers
from edge_tpu_files import compiled_file_of, edge_tpu_options
from pulled import pulled
from sklearn.linear_model import LogisticRegression
from tflite import Tensor, fully_connected

from edgesmith_builder.contract import (
    REPORT_ANNOTATION,
    Artifact,
    Build,
    BuildReport,
    Platform,
    Reference,
    Renamed,
    Toolchain,
)
from edgesmith_builder.format import Renames
from edgesmith_builder.format.tflite.read import read_ends
from edgesmith_builder.gather import Inputs, gather
from edgesmith_builder.source import Fetched, Limit
from edgesmith_builder.toolchain import Material, toolchain_of
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.loading import read

RNG = np.random.default_rng(11)
SIDE = 12
RIGHT = RNG.integers(0, 2, 240)
"""1: the stripes of a picture go down."""
STRIPES = np.sin(np.arange(SIDE) * 1.6 + RNG.uniform(0, 6, (240, 1)))
PICTURES = np.where(RIGHT[:, None, None] == 1, STRIPES[:, None, :], STRIPES[:, :, None])[:, None]
PICTURES = (PICTURES + 0.7 * RNG.normal(size=PICTURES.shape)).astype(np.float32)
TRAIN, TEST = slice(0, 120), slice(120, 240)


def trained(nodes: list[Any], weights: dict[str, Any], taken: str, answered: str, channels: int) -> bytes:
    """A network over pictures: drawn convolutions, their means over each picture, and a last layer that is fitted."""
    ends = [(taken, FLOAT, ["n", 1, SIDE, SIDE])]
    pooled = [*nodes, node("GlobalAveragePool", ["maps"], ["means"]), node("Flatten", ["means"], ["flat"])]
    session = ort.InferenceSession(made(pooled, ends, [("flat", FLOAT, ["n", channels])], weights).SerializeToString())
    (seen,) = session.run(["flat"], {taken: PICTURES[TRAIN]})
    wanted = np.stack([1 - 2 * RIGHT[TRAIN], 2 * RIGHT[TRAIN] - 1], axis=1)
    fitted, *_ = np.linalg.lstsq(np.c_[seen, np.ones(len(seen))], 4 * wanted, rcond=None)
    last = {"head": fitted[:-1].astype(np.float32), "bias": fitted[-1].astype(np.float32)}
    tail = [node("Gemm", ["flat", "head", "bias"], ["raw"]), node("Softmax", ["raw"], [answered], axis=1)]
    model = made([*pooled, *tail], ends, [(answered, FLOAT, ["n", 2])], {**weights, **last})
    return bytes(model.SerializeToString())


def squeezing() -> bytes:
    """A few maps, then two layers beside each other, as SqueezeNet has them."""
    weights = {"squeeze": numbers(4, 1, 3, 3), "one": numbers(8, 4, 1, 1), "three": numbers(8, 4, 3, 3)}
    nodes = [
        node("Conv", ["data", "squeeze"], ["s"], pads=[1] * 4),
        node("Relu", ["s"], ["r"]),
        node("Conv", ["r", "one"], ["a"]),
        node("Conv", ["r", "three"], ["b"], pads=[1] * 4),
        node("Concat", ["a", "b"], ["both"], axis=1),
        node("Relu", ["both"], ["maps"]),
    ]
    return trained(nodes, weights, "data", "prob", 16)


def mobile() -> bytes:
    """A layer for each map alone between two over all, as MobileNet has them; it has names of the other inside."""
    weights = {"wide": numbers(64, 1, 3, 3), "alone": numbers(64, 1, 3, 3), "prob": numbers(96, 64, 1, 1)}
    nodes = [
        node("Conv", ["input.1", "wide"], ["w"], pads=[1] * 4),
        node("Relu", ["w"], ["data"]),
        node("Conv", ["data", "alone"], ["d"], pads=[1] * 4, group=64),
        node("Relu", ["d"], ["e"]),
        node("Conv", ["e", "prob"], ["f"]),
        node("Relu", ["f"], ["maps"]),
    ]
    return trained(nodes, weights, "input.1", "473", 96)


def request(world: Any, sets: Any, source: bytes, alternative: bytes, **changes: Any) -> Any:
    """A build of an alternative over pictures, whose array is called as the source calls them."""
    number, put = f"renamed/{next(world.numbers)}", world.store.put
    fields: dict[str, Any] = {
        "source": Artifact(uri=put(f"{number}/other", alternative)),
        "reference": Reference(source=Artifact(uri=put(f"{number}/source", source))),
        "calibration": Artifact(uri=put(f"{number}/c.npz", sets.npz(data=PICTURES[TRAIN]))),
        "evaluation": Artifact(uri=put(f"{number}/e.npz", sets.npz(data=PICTURES[TEST], labels=RIGHT[TEST]))),
        "precisions": ("fp32", "int8"),
    }
    return world.request(**{**fields, **changes}).model_copy(update={"alternative": "mobile"})


async def test_a_network_of_another_maker_is_built_and_served_under_the_source_s_names(
    world: Any, sets: Any, tmp_path: Path
) -> None:
    asked = request(world, sets, squeezing(), mobile())
    built = await world.build(asked)
    report = BuildReport.model_validate_json((await world.manifest(built)).annotations[REPORT_ANNOTATION])
    assert report.renamed == (
        Renamed(kind="Input", was="input.1", now="data"),
        Renamed(kind="Output", was="473", now="prob"),
    )
    assert [str(one) for one in report.renamed] == ["input.1 -> data", "473 -> prob"]
    assert report.reference_accuracy is not None
    assert report.source_accuracy is not None
    assert min(report.reference_accuracy, report.source_accuracy) > 0.85, "both were fitted"
    assert [one.rejected for one in report.candidates] == [None, None]
    bundle, golden = read(await pulled(built.image, tmp_path / "image"))
    assert {*golden.inputs} == {"data"}
    assert {*golden.outputs} == {"prob"}
    engine = load_engine(bundle.engine, bundle.model_path, threads=1, options=bundle.options)
    try:
        (found,) = engine.infer({"data": PICTURES[TEST]}).values()
    finally:
        engine.close()
    plain = ort.InferenceSession(mobile())
    (wanted,) = plain.run(None, {"input.1": PICTURES[TEST]})
    np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg="what it answers under its own names")
    elsewhere = asked.model_copy(update={"repository": f"{asked.repository}-again"})
    again = await world.build(elsewhere)
    assert not again.cached
    assert again.image.partition("@")[2] == built.image.partition("@")[2]


class Files:
    """Files by their URIs, in the place of a bucket."""

    form = "s3://m/NAME"

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def fetch(self, _field: str, artifact: Artifact, target: Path, _limit: Limit) -> Fetched:
        size = target.write_bytes(self._files[artifact.uri.removeprefix("s3://m/")])
        return Fetched(target, size, "")


def gathered(folder: Path, files: dict[str, bytes], **fields: Any) -> Inputs:
    """What is gathered of a build of an alternative; fields name the files that there are beside the two models."""
    there = {name: Artifact(uri=f"s3://m/{name}") for name in files if name != "reference"}
    reference = Reference(source=Artifact(uri="s3://m/reference"))
    platform = Platform(architecture="amd64")
    wanted = Build(**there, reference=reference, platform=platform, base="r/b@sha256:0", **fields)
    return gather(wanted, Files(files), folder, 1)


def test_an_estimator_answers_as_the_source_s_outputs_are_called(sets: Any, tmp_path: Path) -> None:
    rows = RNG.normal(size=(80, 4)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(np.int64)
    nodes = [
        node("MatMul", ["window", "w"], ["scores"]),
        node("ArgMax", ["scores"], ["output_label"], axis=1, keepdims=0),
        node("Softmax", ["scores"], ["output_probability"], axis=1),
    ]
    outputs = [("output_label", INT64, ["n"]), ("output_probability", FLOAT, ["n", 2])]
    weights = {"w": np.array([[-1, 1], [0, 0], [0, 0], [0, 0]], np.float32)}
    source = made(nodes, [("window", FLOAT, ["n", 4])], outputs, weights).SerializeToString()
    estimator = skops.io.dumps(LogisticRegression().fit(rows, labels))
    evaluation = sets.npz(window=rows, labels=labels)
    files = {"source": estimator, "reference": source, "evaluation": evaluation}
    found = gathered(tmp_path, files, toolchain=Toolchain(precisions=("fp32",)))
    assert found.renames == Renames({}, {"label": "output_label", "probabilities": "output_probability"})
    assert found.model.original is not None
    assert {*found.model.original.answers(rows)} == {"output_label", "output_probability"}
    assert found.scored is not None
    assert found.scored.value > 0.9


def test_what_was_compiled_of_an_alternative_is_renamed_with_it(sets: Any, tmp_path: Path) -> None:
    alternative = fully_connected(numbers(16, 4), "int8")
    source = alternative
    for was, now in ((b"x", b"u"), (b"y", b"v")):
        source = source.replace(b"\1\0\0\0" + was + b"\0", b"\1\0\0\0" + now + b"\0")
    chip = compiled_file_of(
        Tensor("x", (1, 16), "int8", scale=1 / 16), Tensor("y", (1, 4), "int8", scale=1 / 16),
        edge_tpu_options(cached=64),
    )  # fmt: skip
    calibration = sets.npz(u=RNG.integers(-128, 127, (20, 16), np.int8))
    files = {"source": alternative, "reference": source, "compiled": chip, "calibration": calibration}
    toolchain = Toolchain(name="EdgeTPU", precisions=("int8",))
    found = gathered(tmp_path, files, toolchain=toolchain)
    assert found.renames == Renames({"x": "u"}, {"y": "v"})
    assert found.compiled is not None
    material = Material(found.model, found.calibration, {"minRuntimeVersion": "14"}, 1, found.compiled)
    (tmp_path / "out").mkdir()
    packed = toolchain_of("EdgeTPU").compile("int8", material, tmp_path / "out")
    ends = [read_ends(file, "it") for file in (packed.model_file, *packed.others)]
    assert [(one.inputs[0].name, one.outputs[0].name) for one in ends] == [("u", "v")] * 2
