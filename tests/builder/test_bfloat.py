"""Models that take and answer BF16."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edgesmith_builder.contract import REPORT_ANNOTATION, Artifact, BuildReport
from edgesmith_builder.oci import Reference, Registry
from edgesmith_runtime.bundle import read_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden, replay


def in_halves(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model between two casts: its input and output are BF16."""
    graph = model.graph
    for node in graph.node:
        node.input[:] = ["wide" if name == "image" else name for name in node.input]
        node.output[:] = ["exact" if name == "scores" else name for name in node.output]
    graph.node.insert(0, helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT))
    graph.node.append(helper.make_node("Cast", ["exact"], ["scores"], to=TensorProto.BFLOAT16))
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    return model


@pytest.mark.parametrize("sets", [True, False], ids=["with sets", "without"])
async def test_it_is_built_and_answers_as_recorded(
    world: Any,
    make_classifier: Any,
    tmp_path: Path,
    sets: bool,  # noqa: FBT001 - pytest gives it
) -> None:
    model = in_halves(make_classifier())
    source = Artifact(uri=world.store.put(f"halves/{sets}.onnx", model.SerializeToString()))
    others = {} if sets else {"calibration": None, "evaluation": None}
    built = await world.build(world.request(source=source, **others))
    reference = Reference.parse(built.image)
    async with Registry(plain_http=True) as client:
        manifest = await client.manifest(reference)
        assert manifest is not None
        for layer in manifest.layers[-2:]:
            data = await client.read_blob(reference.repository, layer)
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(tmp_path, filter="data")
    report = BuildReport.model_validate_json(manifest.annotations[REPORT_ANNOTATION])
    assert report.precision == "fp32"
    if sets:
        assert "expected: (tensor(bfloat16))" in (report.candidates[0].rejected or ""), "int8 is not made of it"
    bundle = read_bundle(tmp_path / "model")
    assert [spec.datatype for spec in (*bundle.inputs, *bundle.outputs)] == ["BF16", "BF16"]
    engine = load_engine(bundle.engine, bundle.model_path, threads=1)
    parity = replay(engine, Golden.read(*bundle.golden_paths))
    assert parity.passed, parity.message
