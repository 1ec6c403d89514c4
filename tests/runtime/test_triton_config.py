"""What a bundle's config.pbtxt says, read by Triton's own message type."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from edgesmith_runtime.bundle import Bundle, TensorSpec
from edgesmith_runtime.engine import EngineError
from edgesmith_runtime.golden import Golden
from edgesmith_runtime.triton.command import Listening, command, environment
from edgesmith_runtime.triton.preparing import USUAL
from edgesmith_runtime.triton.repository import Fitting, config_text
from edgesmith_runtime.triton.textproto import Word, pairs, text

FITTING = Fitting(threads=3, max_batch=4, cache=Path('/cache/it\'s "here"'))


def parsed(bundle: Bundle, fitting: Fitting = FITTING) -> Any:
    """The configuration as Triton reads it; unknown fields and words of no enumeration are errors."""
    golden = Golden.read(*bundle.golden_paths)
    return text_format.Parse(config_text(bundle, golden, fitting), model_config_pb2.ModelConfig())


def for_tensorrt(bundle: Bundle, precision: str = "fp16", **options: str) -> Bundle:
    return dataclasses.replace(bundle, precision=precision, options={"accelerator": "tensorrt", **options})


def accelerator(config: Any) -> dict[str, str]:
    (one,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert one.name == "tensorrt"
    return dict(one.parameters)


def test_a_model_with_a_batch_has_its_sizes_without_it(toy: Bundle) -> None:
    config = parsed(toy)
    assert (config.name, config.backend, config.platform) == ("toy", "onnxruntime", "onnxruntime_onnx")
    assert (config.max_batch_size, config.default_model_filename) == (4, "model.onnx")
    (x,) = config.input
    assert (x.name, x.data_type, list(x.dims)) == ("x", model_config_pb2.TYPE_FP32, [4])
    assert [(y.name, list(y.dims), y.label_filename) for y in config.output] == [
        ("relu", [4], "labels.txt"),
        ("softmax", [4], "labels.txt"),
    ]


def test_it_computes_with_the_pods_cores_in_one_instance_on_the_processor(toy: Bundle) -> None:
    config = parsed(toy)
    assert config.parameters["intra_op_thread_count"].string_value == "3"
    assert config.parameters["inter_op_thread_count"].string_value == "1"
    (group,) = config.instance_group
    assert (group.kind, group.count) == (model_config_pb2.ModelInstanceGroup.KIND_CPU, 1)
    assert not config.optimization.execution_accelerators.gpu_execution_accelerator


def test_it_is_warm_for_the_smallest_and_the_largest_batch(toy: Bundle) -> None:
    assert [(one.batch_size, list(one.inputs["x"].dims)) for one in parsed(toy).model_warmup] == [(1, [4]), (4, [4])]
    alone = parsed(toy, dataclasses.replace(FITTING, max_batch=1))
    assert [one.batch_size for one in alone.model_warmup] == [1]


def test_a_model_without_a_batch_has_all_its_sizes(slow: Bundle) -> None:
    config = parsed(slow)
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [-1, -1])
    assert [(one.batch_size, list(one.inputs["x"].dims)) for one in config.model_warmup] == [(0, [3, 3])]


def test_every_datatype_has_triton_s_name(every_type: Bundle) -> None:
    types = {one.name.removeprefix("in_"): one.data_type for one in parsed(every_type).input}
    names = {name: {"BYTES": "STRING"}.get(name, name) for name in types}
    assert types == {name: getattr(model_config_pb2, f"TYPE_{triton}") for name, triton in names.items()}


@pytest.mark.parametrize(("precision", "mode"), [("fp16", "FP16"), ("fp32", "FP32")])
def test_tensorrt_gets_its_precision_and_a_folder_for_engines(toy: Bundle, precision: str, mode: str) -> None:
    config = parsed(for_tensorrt(toy, precision))
    said = accelerator(config)
    assert said["precision_mode"] == mode
    assert (said["trt_engine_cache_enable"], said["trt_engine_cache_path"]) == ("1", str(FITTING.cache))
    assert (said["trt_timing_cache_enable"], said["trt_timing_cache_path"]) == ("1", str(FITTING.cache))
    assert "trt_dla_enable" not in said
    (group,) = config.instance_group
    assert group.kind == model_config_pb2.ModelInstanceGroup.KIND_GPU


def test_tensorrt_compiles_once_for_every_batch(toy: Bundle) -> None:
    said = accelerator(parsed(for_tensorrt(toy)))
    shapes = {part: said[f"trt_profile_{part}_shapes"] for part in ("min", "opt", "max")}
    assert shapes == {"min": "x:1x4", "opt": "x:1x4", "max": "x:4x4"}


def test_a_deep_learning_accelerator_is_named(toy: Bundle) -> None:
    said = accelerator(parsed(for_tensorrt(toy, dlaCore="1")))
    assert (said["trt_dla_enable"], said["trt_dla_core"]) == ("1", "1")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"engine": "litert"}, "the bundle is for engine 'litert'; expected onnxruntime to serve it with Triton"),
        ({"options": {"accelerator": "npu"}}, "option 'accelerator' is 'npu'; expected tensorrt"),
        ({"options": {"speed": "11"}}, "option 'speed' is '11', which this server does not know"),
        (
            {"options": {"accelerator": "tensorrt"}, "precision": "int8-dynamic"},
            "precision is 'int8-dynamic'; expected one of fp16, fp32, int8 for TensorRT",
        ),
        ({"outputs": (TensorSpec("y", "FP32", ()),)}, "'y' is a single number without an axis"),
    ],
)
def test_what_triton_cannot_serve_is_said(toy: Bundle, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(EngineError, match=says):
        parsed(dataclasses.replace(toy, **changes))


def test_tensorrt_needs_known_sizes(slow: Bundle) -> None:
    with pytest.raises(EngineError, match=r"input 'x' has sizes \[-1,-1\] beside its batch; expected known ones"):
        parsed(for_tensorrt(slow))


def test_one_axis_is_no_batch_of_triton_s(toy: Bundle) -> None:
    flat = dataclasses.replace(toy, outputs=(TensorSpec("softmax", "INT64", (-1,)),))
    config = parsed(flat)
    assert (config.max_batch_size, list(config.input[0].dims), list(config.output[0].dims)) == (0, [-1, 4], [-1])


def test_names_and_texts_arrive_as_they_are(toy: Bundle) -> None:
    awkward = 'a "b"\\\n{}: ü'
    spec = dataclasses.replace(toy.inputs[0], name=awkward)
    golden = Golden.read(*toy.golden_paths)
    renamed = Golden({awkward: golden.inputs["x"]}, golden.outputs)
    told = config_text(dataclasses.replace(toy, inputs=(spec,)), renamed, FITTING)
    assert text_format.Parse(told, model_config_pb2.ModelConfig()).input[0].name == awkward


def test_the_text_form() -> None:
    written = text({"a": 1, "b": True, "c": Word("KIND"), "d": "x", "e": [1, 2], "f": pairs({"k": {"v": -1}})})
    assert written == ('a: 1\nb: true\nc: KIND\nd: "x"\ne: 1\ne: 2\nf {\n  key: "k"\n  value {\n    v: -1\n  }\n}\n')


def test_an_image_s_own_repository_is_for_any_device(toy: Bundle) -> None:
    config = parsed(for_tensorrt(toy), USUAL)
    assert (config.max_batch_size, config.parameters["intra_op_thread_count"].string_value) == (8, "0")
    assert accelerator(config)["trt_engine_cache_path"] == "/var/cache/edgesmith"


def test_nothing_that_a_client_asks_changes_the_server(toy: Bundle) -> None:
    listening = Listening("127.0.0.1", 1, grpc=2)
    words = command(toy.folder, listening, drain_seconds=7.4, gpu=False)
    assert "--model-control-mode=none" in words
    assert "--exit-timeout-secs=7" in words
    closed = [word for word in words if "restricted" in word]
    assert len(closed) == 2
    keys = {word.rpartition("=")[2] for word in closed}
    assert len(keys) == 1
    assert keys.isdisjoint(
        word.rpartition("=")[2] for word in command(toy.folder, listening, drain_seconds=1, gpu=True)
    )
    for word in closed:
        assert "model-repository,shared-memory,trace,logging:edgesmith=" in word
    assert ("--allow-grpc=true" in words, "--allow-metrics=false" in words) == (True, True)


def test_only_a_gpu_gets_memory_to_copy_from(toy: Bundle) -> None:
    listening = Listening("127.0.0.1", 1)
    pinned = "--pinned-memory-pool-byte-size=0"
    assert pinned in command(toy.folder, listening, drain_seconds=1, gpu=False)
    assert pinned not in command(toy.folder, listening, drain_seconds=1, gpu=True)


def test_what_is_in_fp32_is_computed_as_such(toy: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    for precision in ("fp32", "int8"):
        assert environment(for_tensorrt(toy, precision))["NVIDIA_TF32_OVERRIDE"] == "0"
    other = environment(for_tensorrt(toy, "fp16"))
    assert "NVIDIA_TF32_OVERRIDE" not in other
    assert "PYTHONPATH" not in other
