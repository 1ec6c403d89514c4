"""TensorRT's candidates: what they hold, and that fp16 is measured as fp16."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from candidates import FLOAT, asked, made, node, numbers
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from edgesmith_builder.build import climb
from edgesmith_builder.contract import Precision, Toolchain
from edgesmith_builder.dataset import Samples
from edgesmith_builder.format import read_source
from edgesmith_builder.ladder import Outcome
from edgesmith_builder.toolchain import Compiled, Material, tensorrt
from edgesmith_runtime.bundle import Bundle, read_bundle
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.golden import Golden, replay

SAMPLES = {"x": np.random.default_rng(5).normal(size=(20, 8)).astype(np.float32)}


def layers(scale: float = 1.0, width: int = 16) -> onnx.ModelProto:
    """Two products of matrices with a relu between, all sizes known but the batch."""
    weights: dict[str, NDArray[Any]] = {"a": numbers(8, width, seed=1) * np.float32(scale)}
    weights["b"] = numbers(width, 4, seed=2)
    nodes = [node("MatMul", ["x", "a"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "b"], ["y"])]
    return made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 4])], weights)


def outcome(
    folder: Path,
    model: onnx.ModelProto,
    *precisions: Precision,
    triton: bool = True,
    options: dict[str, str] | None = None,
) -> Outcome:
    toolchain = Toolchain(name="TensorRT", precisions=precisions, options=options or {})
    wanted, inputs = asked(folder, model, SAMPLES, toolchain=toolchain)
    work = folder / "work"
    work.mkdir()
    return climb(wanted, inputs, 0, work, 1, triton=triton)


def bundle_of(folder: Path, precision: str) -> Bundle:
    return read_bundle(folder / "work" / precision / "bundle")


def test_the_image_holds_the_model_in_each_precision_and_what_is_to_run_it(tmp_path: Path) -> None:
    model = layers(width=2000)
    found = outcome(tmp_path, model, "fp16", "fp32")
    assert found.winner.candidate.precision == "fp16"
    for precision in ("fp16", "fp32"):
        bundle = bundle_of(tmp_path, precision)
        assert (bundle.engine, bundle.precision) == ("onnxruntime", precision)
        assert dict(bundle.options) == {"accelerator": "tensorrt"}
    assert bundle_of(tmp_path, "fp32").model_path.read_bytes() == model.SerializeToString()
    constants = onnx.load(bundle_of(tmp_path, "fp16").model_path).graph.initializer
    assert {one.data_type for one in constants} == {onnx.TensorProto.FLOAT16}


def test_fp16_is_half_the_bytes_in_the_report_and_in_the_image(tmp_path: Path) -> None:
    found = outcome(tmp_path, layers(width=4000), "fp16", "fp32")
    half, whole = found.candidates
    assert half.size == bundle_of(tmp_path, "fp16").model_path.stat().st_size
    assert half.size is not None
    assert whole.size is not None
    assert 0.5 < half.size / whole.size < 0.51
    packed = [one.layers[-1].descriptor.size for one in found.finalists]
    assert 0.4 < packed[0] / packed[1] < 0.6


def test_its_layer_holds_a_model_repository_where_triton_serves(tmp_path: Path) -> None:
    found = outcome(tmp_path, layers(), "fp16", options={"dlaCore": "1"})
    with tarfile.open(fileobj=io.BytesIO(found.winner.layers[-1].file.read_bytes())) as tar:
        assert tar.getmember("models/model/1").linkname == "/model"
        written = tar.extractfile("models/model/config.pbtxt")
        assert written is not None
        config: Any = text_format.Parse(written.read().decode(), model_config_pb2.ModelConfig())
    (one,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (one.parameters["precision_mode"], one.parameters["trt_dla_core"]) == ("FP16", "1")


def test_another_server_gets_no_repository(tmp_path: Path) -> None:
    found = outcome(tmp_path, layers(), "fp16", triton=False)
    with tarfile.open(fileobj=io.BytesIO(found.winner.layers[-1].file.read_bytes())) as tar:
        assert not any(name.startswith("models") for name in tar.getnames())


def test_fp16_is_scored_as_such(tmp_path: Path) -> None:
    """Its agreement is that of rounded numbers, and golden answers give what fp32 differs by, but not much more."""
    found = outcome(tmp_path, layers(), "fp16")
    agreement = found.winner.candidate.agreement
    assert agreement is not None
    assert 0.99 < agreement < 1
    golden = Golden.read(*bundle_of(tmp_path, "fp16").golden_paths)
    for file in (bundle_of(tmp_path, "fp16").model_path, tmp_path / "source.onnx"):
        assert replay(load_engine("onnxruntime", file, threads=1), golden).passed
    weights = onnx.load(tmp_path / "source.onnx")
    tensor = weights.graph.initializer[0]
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.03), tensor.name))
    onnx.save(weights, tmp_path / "other.onnx")
    assert not replay(load_engine("onnxruntime", tmp_path / "other.onnx", threads=1), golden).passed


def test_answers_of_fp16_are_compared_with_the_source_s(tmp_path: Path) -> None:
    """A GPU may sum without rounding in between, so what it answers may lie as far off as what fp32 answers."""
    material = Material(read_source(saved(layers(), tmp_path), "the model"), None, {"dlaCore": "none"}, 1)
    samples = Samples(SAMPLES, {"x": 2}, batches=True)
    (tmp_path / "made").mkdir()
    found = tensorrt.other_answers(tensorrt.compile("fp16", material, tmp_path / "made"), samples)
    assert found is not None
    source = load_engine("onnxruntime", material.source.path, threads=1)
    for index, answer in enumerate(found):
        np.testing.assert_allclose(answer["y"], source.infer(samples.feed(index))["y"], rtol=1e-5, atol=1e-6)


def test_a_constant_beyond_fp16_takes_it_out_before_anything_is_measured(tmp_path: Path) -> None:
    model = layers(scale=1e5)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    worst = weight.flat[np.abs(weight).argmax()]
    found = outcome(tmp_path, model, "fp16", "fp32")
    assert found.winner.candidate.precision == "fp32"
    refused = found.candidates[0]
    assert refused.rejected == f"it cannot be made: the constant 'a' has the value {worst:g}, and fp16 ends at 65504"
    assert refused.agreement is None


def test_values_beyond_fp16_are_found_where_the_model_is_built(tmp_path: Path) -> None:
    """What becomes infinite between its nodes only."""
    model = layers(scale=1e4)
    model.graph.node.append(node("Mul", ["y", "small"], ["z"]))
    model.graph.output[0].name = "z"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(1, 1e-4, np.float32), "small"))
    found = outcome(tmp_path, model, "fp16", "fp32")
    assert found.winner.candidate.precision == "fp32"
    assert "it does not work" in str(found.candidates[0].rejected)


@pytest.mark.parametrize(("precision", "options"), [("fp32", {}), ("fp16", {"dlaCore": "0"})])
def test_options_reach_the_bundle(tmp_path: Path, precision: Precision, options: dict[str, str]) -> None:
    outcome(tmp_path, layers(), precision, options=options)
    assert dict(bundle_of(tmp_path, precision).options) == {"accelerator": "tensorrt", **options}


def test_int8_is_around_zero_and_leaves_biases_and_results_in_float(tmp_path: Path) -> None:
    found = outcome(tmp_path, layers(width=200), "int8", "fp16")
    assert found.winner.candidate.precision == "int8"
    assert found.winner.candidate.agreement is not None
    bundle = bundle_of(tmp_path, "int8")
    assert dict(bundle.options) == {"accelerator": "tensorrt"}
    graph = onnx.load(bundle.model_path).graph
    constants = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    around = [one for one in graph.node if one.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert {constants[one.input[2]].dtype for one in around} == {np.dtype(np.int8)}
    assert {constants[one.input[1]].dtype for one in around} == {np.dtype(np.float32)}, "as the values around them are"
    assert not any(constants[one.input[2]].any() for one in around)
    weights = [one for one in around if one.input[0] in constants]
    assert [constants[one.input[0]].dtype for one in weights] == [np.int8] * 2
    steps = [int(np.abs(constants[one.input[0]].astype(int)).max()) for one in weights]
    assert steps == [127, 127], "all eight bits, which a GPU's products do not overflow by"
    assert all(constants[one.input[1]].ndim == 1 for one in weights), "a scale for each output"
    results = {one.output[0] for one in graph.node if one.op_type == "MatMul"}
    assert not results.intersection(one.input[0] for one in around if one.op_type == "QuantizeLinear")


def test_a_bias_stays_in_float_in_int8(tmp_path: Path) -> None:
    weights = {"w": numbers(200, 8, seed=1), "b": numbers(200, seed=2), "v": numbers(200, 3, seed=3)}
    nodes = [
        node("Gemm", ["x", "w", "b"], ["g"], transB=1),
        node("Relu", ["g"], ["r"]),
        node("MatMul", ["r", "v"], ["y"]),
    ]
    outcome(tmp_path, made(nodes, [("x", FLOAT, ["n", 8])], [("y", FLOAT, ["n", 3])], weights), "int8")
    graph = onnx.load(bundle_of(tmp_path, "int8").model_path).graph
    (gemm,) = (one for one in graph.node if one.op_type == "Gemm")
    (bias,) = (one for one in graph.initializer if one.name == gemm.input[2])
    np.testing.assert_allclose(onnx.numpy_helper.to_array(bias), weights["b"], rtol=1e-6)


def test_golden_answers_of_int8_give_what_sums_in_fp32_differ_by(tmp_path: Path) -> None:
    outcome(tmp_path, layers(width=200), "int8")
    bundle = bundle_of(tmp_path, "int8")
    golden = Golden.read(*bundle.golden_paths)
    engine = load_engine("onnxruntime", bundle.model_path, threads=1)
    assert replay(engine, golden).passed
    source = load_engine("onnxruntime", tmp_path / "source.onnx", threads=1)
    assert not replay(source, golden).passed


def test_answers_of_int8_are_compared_with_sums_in_fp32(tmp_path: Path) -> None:
    outcome(tmp_path, layers(width=200), "int8")
    file = bundle_of(tmp_path, "int8").model_path
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    found = tensorrt.other_answers(Compiled("onnxruntime", file), Samples(SAMPLES, {"x": 2}, batches=True))
    assert found is not None
    for index, answer in enumerate(found):
        np.testing.assert_array_equal(answer["y"], plain.run(["y"], {"x": SAMPLES["x"][index : index + 1]})[0])
    engine = load_engine("onnxruntime", file, threads=1)
    whole = [engine.infer({"x": SAMPLES["x"][index : index + 1]})["y"] for index in range(len(found))]
    assert any(not np.array_equal(one, answer["y"]) for one, answer in zip(whole, found, strict=True))


def test_without_samples_there_is_no_int8_and_the_next_is_tried(tmp_path: Path) -> None:
    material = Material(read_source(saved(layers(), tmp_path), "the model"), None, {"dlaCore": "none"}, 1)
    assert "calibration" in str(tensorrt.refusal("int8", material))
    assert tensorrt.refusal("fp16", material) is None


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def test_free_sizes_are_said_before_a_device_compiles_for_minutes(tmp_path: Path) -> None:
    model = made([node("Relu", ["x"], ["y"])], [("x", FLOAT, ["n", "m"])], [("y", FLOAT, ["n", "m"])], {})
    with pytest.raises(Exception, match="input 'x' has no known size on axis 1; known sizes were expected"):
        outcome(tmp_path, model, "fp32")
