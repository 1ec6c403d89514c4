"""The quantiser: what the file that it writes says, to the number."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graphs import FLOAT, decibels, model_of, node, numbers, quantised, samples_of, weights_of
from onnx import TensorProto, numpy_helper

from edgesmith_builder.quantize import Quantization, QuantizationFailed
from edgesmith_builder.quantize.calibrate import calibrate, finite
from edgesmith_builder.quantize.emit import OP_TYPES
from edgesmith_builder.quantize.select import workable

KERNEL, DENSE = numbers(16, 4, 3, 3), numbers(16 * 36, 32)
CONV_NET = model_of(
    [
        node("Conv", ["x", "kernel", "kernel_bias"], ["c"], name="conv"),
        node("Relu", ["c"], ["r"]),
        node("Flatten", ["r"], ["f"]),
        node("Gemm", ["f", "dense", "dense_bias"], ["h"], name="dense"),
        node("Relu", ["h"], ["a"]),
        node("MatMul", ["a", "last"], ["y"], name="last"),
    ],
    [("x", FLOAT, ["N", 4, 8, 8])],
    [("y", FLOAT, ["N", 10])],
    {"kernel": KERNEL, "kernel_bias": numbers(16), "dense": DENSE, "dense_bias": numbers(32), "last": numbers(32, 10)},
)
FEEDS = {"x": numbers(24, 4, 8, 8)}
TYPES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8}


@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("weights", ["int8", "uint8"])
@pytest.mark.parametrize(("per_channel", "reduce_range"), list(itertools.product((True, False), repeat=2)))
def test_the_file_has_the_number_types_that_were_asked_for(
    tmp_path: Path, activations: Any, weights: Any, per_channel: Any, reduce_range: Any
) -> None:
    settings = Quantization(
        activations=activations, weights=weights, per_channel=per_channel, reduce_range=reduce_range
    )
    if (activations, weights) == ("int8", "uint8"):
        with pytest.raises(QuantizationFailed, match=r"weights is uint8 with .*activations int8.*int8 were expected"):
            quantised(tmp_path, CONV_NET, FEEDS, settings)
        return
    made = quantised(tmp_path, CONV_NET, FEEDS, settings)
    graph = onnx.load_model(made).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    quantisers = [one for one in graph.node if one.op_type == "QuantizeLinear"]
    assert {kinds[one.input[2]] for one in quantisers} == {TYPES[activations]}
    found = weights_of(made)
    assert sorted(found) == ["dense_quantized", "kernel_quantized", "last_quantized"]
    axes = {"kernel_quantized": (0, 16), "dense_quantized": (1, 32), "last_quantized": (1, 10)}
    for one in graph.node:
        if one.op_type != "DequantizeLinear" or one.input[0] not in found:
            continue
        assert kinds[one.input[0]] == TYPES[weights]
        axis, channels = axes[one.input[0]]
        scales = constants[one.input[1]]
        assert scales.shape == ((channels,) if per_channel else ())
        if per_channel:
            assert [(a.name, a.i) for a in one.attribute] == [("axis", axis)]
        values = found[one.input[0]].astype(int)
        # 128 steps instead of 256, so that two products with 255 fit into 16 bits: 2 x 64 x 255 = 32,640.
        span = values.max() - values.min()
        assert 90 < span <= 128 if reduce_range else 180 < span <= 255
        assert weights == "uint8" or np.abs(values).max() == (64 if reduce_range else 127)
    assert decibels(tmp_path / "source.onnx", made, FEEDS) > 24
    assert made.stat().st_size < 0.35 * (tmp_path / "source.onnx").stat().st_size


def test_ranges_are_the_smallest_and_largest_values_of_the_samples(tmp_path: Path) -> None:
    made = quantised(tmp_path, CONV_NET, FEEDS)
    graph = onnx.load_model(made).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (first,) = [one for one in graph.node if one.op_type == "QuantizeLinear" and one.input[0] == "x"]
    low, high = float(FEEDS["x"].min()), float(FEEDS["x"].max())
    scale, zero = float(constants[first.input[1]]), int(constants[first.input[2]])
    assert scale == pytest.approx((high - low) / 255, rel=1e-6)
    assert zero == round(-low / scale)


def test_calibration_measures_every_tensor_and_zero(tmp_path: Path) -> None:
    model = model_of(
        [node("MatMul", ["x", "w"], ["t"]), node("Add", ["t", "far"], ["u"]), node("Log", ["u"], ["y"])],
        [("x", FLOAT, ["N", 8])],
        [("y", FLOAT, ["N", 8])],
        {"w": np.eye(8, dtype=np.float32), "far": np.full(8, 100.0, np.float32)},
    )
    onnx.save_model(model, tmp_path / "m.onnx")
    feeds = {"x": numbers(9, 8) * 10}
    ranges = calibrate(tmp_path / "m.onnx", samples_of(feeds), OP_TYPES, tmp_path, threads=3)
    assert ranges["x"] == (feeds["x"].min(), feeds["x"].max())
    assert ranges["u"] == (0.0, float(feeds["x"].max() + np.float32(100.0)))


def test_a_tensor_without_bounds_is_known_as_such(tmp_path: Path) -> None:
    model = model_of(
        [node("MatMul", ["x", "w"], ["t"]), node("Log", ["t"], ["l"]), node("Relu", ["l"], ["y"])],
        [("x", FLOAT, ["N", 8])],
        [("y", FLOAT, ["N", 8])],
        {"w": np.eye(8, dtype=np.float32)},
    )
    onnx.save_model(model, tmp_path / "m.onnx")
    for bad in (0.0, -1.0):  # minus infinity, NaN
        samples = samples_of({"x": np.array([[1.0] * 8, [bad] * 8, [2.0] * 8], np.float32)})
        ranges = calibrate(tmp_path / "m.onnx", samples, OP_TYPES, tmp_path, threads=1)
        assert not finite(ranges["l"])
        assert finite(ranges["t"])


def test_threads_and_runs_change_no_byte(tmp_path: Path) -> None:
    made = []
    for number, threads in enumerate((1, 3, 3)):
        (tmp_path / str(number)).mkdir()
        made.append(quantised(tmp_path / str(number), CONV_NET, FEEDS, threads=threads).read_bytes())
    assert made[0] == made[1] == made[2]


def test_a_sample_that_is_not_answered_is_named_without_a_path(tmp_path: Path) -> None:
    model = model_of(
        [node("Reshape", ["x", "i"], ["r"], name="/head/Reshape"), node("MatMul", ["r", "w"], ["y"])],
        [("x", FLOAT, ["N", 64]), ("i", TensorProto.INT64, ["S"])],
        [("y", FLOAT, ["N", 32])],
        {"w": numbers(64, 32)},
    )
    with pytest.raises(QuantizationFailed, match=r"sample 0 of spec.calibration is not answered") as caught:
        quantised(tmp_path, model, {"x": numbers(3, 64), "i": np.full((3,), 7)})
    assert "Reshape" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert "onnxruntime_src" not in str(caught.value)


# What fails -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [set(), {3}, {0, 9}, {2, 3, 4}, set(range(10))])
def test_nodes_that_work_are_kept_and_the_others_named(bad: set[int]) -> None:
    names = [str(number) for number in range(10)]

    def tried(some: Any) -> Exception | None:
        wrong = sorted(int(name) for name in some if int(name) in bad)
        return ValueError(str(wrong)) if wrong else None

    good, failed = workable(names, tried)
    assert good == [name for name in names if int(name) not in bad]
    assert {int(name): str(error) for name, error in failed.items()} == {number: f"[{number}]" for number in bad}


def test_of_two_nodes_that_fail_together_the_first_is_kept() -> None:
    def tried(some: Any) -> Exception | None:
        return ValueError() if {"b", "d"} <= set(some) else None

    assert workable(list("abcde"), tried)[0] == list("abce")


def test_the_search_for_bad_nodes_ends() -> None:
    asked = []

    def tried(some: Any) -> Exception | None:
        asked.append(some)
        return ValueError()

    assert workable([str(number) for number in range(1000)], tried, tries=20)[0] == []
    assert len(asked) < 60


def test_one_bad_node_stays_in_float_and_is_named(tmp_path: Path, caplog: Any) -> None:
    """ONNX Runtime's quantiser wants a normalisation's bias as [N]; [1, N] it does not survive."""
    model = model_of(
        [
            node("MatMul", ["x", "first"], ["t"], name="first"),
            node("LayerNormalization", ["t", "scale", "shift"], ["u"], name="norm"),
            node("MatMul", ["u", "last"], ["y"], name="last"),
        ],
        [("x", FLOAT, ["N", 64])],
        [("y", FLOAT, ["N", 64])],
        {"first": numbers(64, 64), "scale": numbers(1, 64), "shift": numbers(1, 64), "last": numbers(64, 64)},
    )
    made = quantised(tmp_path, model, {"x": numbers(32, 64)})
    assert sorted(weights_of(made)) == ["first_quantized", "last_quantized"]
    assert "LayerNormalization 'norm' with weights [1, 64] stays in fp32" in caplog.text
    assert decibels(tmp_path / "source.onnx", made, {"x": numbers(8, 64)}) > 24
    assert made.stat().st_size < 0.4 * (tmp_path / "source.onnx").stat().st_size


def test_temporary_files_are_in_the_folder_that_is_given(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    made = quantised(tmp_path, CONV_NET, FEEDS)
    assert [entry.name for entry in made.parent.iterdir()] == [made.name]


FULL = """
import json, resource, shutil, signal, sys
from pathlib import Path
import numpy as np
from edgesmith_builder.dataset import Samples
from edgesmith_builder.failures import machine_failed
from edgesmith_builder.quantize import Quantization, quantize
source = Path(sys.argv[1])
work = source.with_name("work")
samples = Samples({"x": np.ones((2, 4, 8, 8), np.float32)}, {"x": 4}, batches=True)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
ends = []
for limit in range(*map(int, sys.argv[2:])):
    work.mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    try:
        quantize(source, samples, Quantization(), work)
        ends.append("made")
    except Exception as error:
        ends.append("machine" if machine_failed(error) else f"{type(error).__name__}: {error}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    shutil.rmtree(work)
print(json.dumps(ends))
"""


def test_a_disk_that_is_full_is_not_the_model_s_fault(tmp_path: Path) -> None:
    """Files may be a little larger each time, so that each of those that are written is once the one that fails."""
    source = tmp_path / "source.onnx"
    source.write_bytes(CONV_NET.SerializeToString())
    size = source.stat().st_size
    line = [sys.executable, "-c", FULL, str(source), str(size - 500), str(size + 5_000), "300"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    ends = json.loads(done.stdout.splitlines()[-1])
    assert set(ends) == {"machine", "made"}, ends
    assert (ends[0], ends[-1]) == ("machine", "made")
    assert ends == sorted(ends)
