"""int8 with ranges that are taken at run time: recurrences, transformers and tables of tokens."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from candidates import built
from graphs import FLOAT, answers, decibels, model_of, node, numbers
from onnx import TensorProto, numpy_helper
from sequences import CLASSES, encoder, recurrent, series, texts

from edgesmith_builder.dataset import Samples
from edgesmith_builder.format.onnx import read_model
from edgesmith_builder.quantize import Dynamic, Quantization, QuantizationFailed, quantize_at_run_time
from edgesmith_builder.score.together import apart
from edgesmith_runtime.engine import load_engine
from edgesmith_runtime.engine.saturation import products_saturate

STEPS = 20


def network(kind: str) -> tuple[onnx.ModelProto, dict[str, Any], dict[str, Any], Any]:
    """A network, its calibration set, and its evaluation set with labels."""
    if kind in ("tokens", "words"):
        words = kind == "words"
        (taught, labels), (given, _), (asked, right) = (
            texts(count, STEPS, seed, words=words) for count, seed in ((300, 1), (40, 2), (200, 3))
        )
        net = encoder(words=words)
    else:
        (taught, labels), (given, _), (asked, right) = (series(n, STEPS, s) for n, s in ((300, 1), (40, 2), (200, 3)))
        net = recurrent(kind.removeprefix("both "), 96, both=kind.startswith("both "))
    fed = {name: array.astype(object) if array.dtype.kind == "U" else array for name, array in taught.items()}
    return net.taught(fed, labels), given, asked, right


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    """One of each kind."""
    return {kind: network(kind) for kind in ("LSTM", "both LSTM", "GRU", "tokens", "words")}


def dynamic(folder: Path, model: onnx.ModelProto, settings: Quantization | None = None) -> Dynamic:
    """The form of a model; its source lies beside it."""
    (folder / "source.onnx").write_bytes(model.SerializeToString())
    (folder / "dynamic").mkdir()
    return quantize_at_run_time(folder / "source.onnx", None, settings or Quantization(), folder / "dynamic")


def kinds(file: Path) -> set[str]:
    return {one.op_type for one in onnx.load_model(file).graph.node}


@pytest.mark.parametrize(
    ("kind", "operators"),
    [
        ("LSTM", {"DynamicQuantizeLSTM"}),
        ("both LSTM", {"DynamicQuantizeLSTM"}),
        ("GRU", {"GRU", "DequantizeLinear"}),
        ("tokens", {"MatMulInteger", "Gather"}),
        ("words", {"MatMulInteger", "Gather", "LabelEncoder"}),
    ],
)
def test_what_is_made_of_a_network_over_sequences(
    kind: str, operators: set[str], networks: Any, tmp_path: Path
) -> None:
    model, _, asked, right = networks[kind]
    made = dynamic(tmp_path, model)
    assert operators <= kinds(made.file)
    assert made.in_float == (() if kind != "GRU" else ("GRU",))
    assert made.file.stat().st_size < 0.4 * (tmp_path / "source.onnx").stat().st_size
    constants = onnx.load_model(made.file).graph.initializer
    weights = [one for one in constants if np.prod(one.dims) > 2000]
    assert {tensor.data_type for tensor in weights} == {TensorProto.INT8}
    assert read_model(made.file, "it").precision == "int8"
    # As the device is asked: one at a time.
    said = {}
    for name, file in (("source", tmp_path / "source.onnx"), ("made", made.file)):
        feeds = [{key: _fed(array[i : i + 1]) for key, array in asked.items()} for i in range(len(right))]
        said[name] = np.concatenate([answers(file, feed)["probabilities"] for feed in feeds])
    assert 20 * np.log10(np.linalg.norm(said["source"]) / np.linalg.norm(said["source"] - said["made"])) > 24
    score = {name: float((answer.argmax(1) == right).mean()) for name, answer in said.items()}
    assert score["source"] > 2 / CLASSES
    assert score["made"] > score["source"] - 0.03


def _fed(array: Any) -> Any:
    return array.astype(object) if array.dtype.kind == "U" else array


@pytest.mark.parametrize("settings", [Quantization(reduce_range=False), Quantization(per_channel=False),
                                      Quantization(weights="uint8", reduce_range=False)], ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", ["LSTM", "tokens"])
def test_the_settings_of_the_profile_count(kind: str, settings: Quantization, networks: Any, tmp_path: Path) -> None:
    model, given, _, _ = networks[kind]
    made = dynamic(tmp_path, model, settings)
    found = onnx.load_model(made.file).graph
    constants = {tensor.name: tensor for tensor in found.initializer}
    multiplied = [
        constants[one.input[1]] for one in found.node if one.op_type in ("MatMulInteger", "DynamicQuantizeLSTM")
    ]
    for tensor in multiplied:
        values = numpy_helper.to_array(tensor).astype(int)
        whole = values - 128 if tensor.data_type == TensorProto.UINT8 else values
        assert np.abs(whole).max() in (127, 128) if not settings.reduce_range else np.abs(whole).max() <= 64
        if len(tensor.dims) == 2:
            assert tensor.data_type == (TensorProto.UINT8 if settings.weights == "uint8" else TensorProto.INT8)
    assert decibels(tmp_path / "source.onnx", made.file, {k: v[:1] for k, v in given.items()}) > 15


def test_each_row_of_a_table_has_a_scale_of_its_own(tmp_path: Path) -> None:
    """Rows of very different size keep 48 decibels each, whatever index they have, negative ones too."""
    table = (numbers(60, 32) * np.logspace(-3, 3, 60)[:, None]).astype(np.float32)
    nodes = [node("Gather", ["table", "i"], ["y"], name="look")]
    model = model_of(nodes, [("i", TensorProto.INT64, ["N", "T"])], [("y", FLOAT, ["N", "T", 32])], {"table": table})
    made = dynamic(tmp_path, model)
    rows = np.arange(-30, 30)[None]
    found, wanted = answers(made.file, {"i": rows})["y"][0], table[rows[0]]
    assert (np.abs(found - wanted).max(1) <= np.abs(wanted).max(1) / 127 / 2 * 1.001).all()
    assert not (found == wanted).all()


def test_a_table_that_something_else_reads_stays_as_it_is(tmp_path: Path) -> None:
    nodes = [
        node("Gather", ["table", "i"], ["x"]),
        node("MatMul", ["x", "w"], ["h"]),
        node("Transpose", ["table"], ["turned"], perm=[1, 0]),
        node("MatMul", ["h", "turned"], ["y"]),
    ]
    weights = {"table": numbers(40, 32), "w": numbers(32, 512), "v": numbers(512, 32)}
    nodes.insert(2, node("MatMul", ["h", "v"], ["h2"]))
    nodes[-1].input[0] = "h2"
    model = model_of(nodes, [("i", TensorProto.INT64, ["N"])], [("y", FLOAT, ["N", 40])], weights)
    made = dynamic(tmp_path, model)
    assert decibels(tmp_path / "source.onnx", made.file, {"i": np.arange(1)}) > 20


HASHES = """
import sys
from pathlib import Path
from edgesmith_builder.quantize import Quantization, quantize_at_run_time
import hashlib
folder = Path(sys.argv[2])
folder.mkdir()
made = quantize_at_run_time(Path(sys.argv[1]), None, Quantization(), folder)
print(hashlib.sha256(made.file.read_bytes()).hexdigest())
"""


@pytest.mark.parametrize("kind", ["both LSTM", "tokens"])
def test_the_same_source_gives_the_same_bytes_in_every_process(kind: str, networks: Any, tmp_path: Path) -> None:
    made = dynamic(tmp_path, networks[kind][0])
    command = [sys.executable, "-c", HASHES, str(tmp_path / "source.onnx"), str(tmp_path / "other")]
    told = subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == hashlib.sha256(made.file.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "tokens"])
@pytest.mark.parametrize("reduced", [True, False], ids=["seven bits", "eight bits"])
def test_answers_are_the_same_where_weights_are_made_unsigned(
    kind: str, reduced: Any, networks: Any, tmp_path: Path
) -> None:
    """The runtime has ONNX Runtime do so on x86-64 without VNNI, where products of eight bits are wrong otherwise."""
    model, given, _, _ = networks[kind]
    made = dynamic(tmp_path, model, Quantization(reduce_range=reduced))
    said = []
    for unsigned in ("0", "1"):
        options = ort.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", unsigned)
        session: Any = ort.InferenceSession(str(made.file), options, providers=["CPUExecutionProvider"])
        feeds = [{name: array[index : index + 1] for name, array in given.items()} for index in range(8)]
        said.append(np.concatenate([session.run(None, feed)[0] for feed in feeds]))
    right = reduced or not products_saturate()
    assert (np.abs(said[0] - said[1]).max() < 1e-5) == right


def image_network() -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "k"], ["c"]),
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "w"], ["y"]),
    ]
    return model_of(nodes, [("x", FLOAT, ["N", 3, 8, 8])], [("y", FLOAT, ["N", 4])],
                    {"k": numbers(32, 3, 3, 3), "w": numbers(32, 4)})  # fmt: skip


def dense() -> onnx.ModelProto:
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "w"], ["y"])]
    return model_of(nodes, [("x", FLOAT, ["N", 64])], [("y", FLOAT, ["N", 64])], {"w": numbers(64, 64)})


def small() -> onnx.ModelProto:
    return model_of(
        [node("GRU", ["x", "w", "r"], ["", "y"], hidden_size=4)],
        [("x", FLOAT, ["T", "N", 2])], [("y", FLOAT, [1, "N", 4])], {"w": numbers(1, 12, 2), "r": numbers(1, 12, 4)},
    )  # fmt: skip


def nested() -> onnx.ModelProto:
    """A recurrence inside an If, as Silero's VAD has one for each sampling rate."""
    branches = {}
    for name in ("then_branch", "else_branch"):
        value = onnx.helper.make_tensor_value_info(name, FLOAT, None)
        one = node("GRU", ["x", "w", "r"], ["", name], hidden_size=32)
        branches[name] = onnx.helper.make_graph([one], name, [], [value])
    choice = node("If", ["c"], ["y"], **branches)
    inputs = [("x", FLOAT, ["T", "N", 8]), ("c", TensorProto.BOOL, [])]
    return model_of([choice], inputs, [("y", FLOAT, None)], {"w": numbers(1, 96, 8), "r": numbers(1, 96, 32)})


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        pytest.param(nested(), r"the model has graphs inside If, which are not quantised; one without", id="nested"),
        pytest.param(
            image_network(),
            r"87% of its weights are of convolutions, which this form leaves in fp32",
            id="convolutions",
        ),
        pytest.param(dense(), r"for recurrent networks, .* the model has MatMul, Relu, which int8 with", id="dense"),
        pytest.param(small(), r"there is nothing to gain: in int8 it has \d+ bytes, as it came \d+", id="small"),
    ],
)
def test_what_ranges_at_run_time_are_not_for(model: onnx.ModelProto, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(QuantizationFailed) as caught:
        dynamic(tmp_path, model)
    assert re.search(sentence, str(caught.value)), caught.value


def test_convolutions_beside_a_recurrence_stay_in_float(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "k"], ["c"], pads=[1, 1]),
        node("Transpose", ["c"], ["t"], perm=[2, 0, 1]),
        node("LSTM", ["t", "w", "r"], ["", "y"], hidden_size=64),
    ]
    weights = {"k": numbers(8, 4, 3), "w": numbers(1, 256, 8), "r": numbers(1, 256, 64) / 8}
    model = model_of(nodes, [("x", FLOAT, ["N", 4, "T"])], [("y", FLOAT, [1, "N", 64])], weights)
    made = dynamic(tmp_path, model)
    assert {"Conv", "DynamicQuantizeLSTM"} <= kinds(made.file)
    assert decibels(tmp_path / "source.onnx", made.file, {"x": numbers(1, 4, 30)}) > 20


LADDER = ("int8", "int8-mixed", "int8-dynamic", "fp32")


def test_the_ladder_tries_both_and_says_that_a_request_s_samples_share_their_ranges(
    networks: Any, tmp_path: Path
) -> None:
    model, given, asked, right = networks["LSTM"]
    outcome = built(tmp_path, model, given, {**asked, "labels": right}, precisions=LADDER)
    found = {one.precision: one for one in outcome.candidates}
    assert found["int8"].rejected is not None
    assert "little to quantise" in found["int8"].rejected or "nothing" in found["int8"].rejected
    assert found["int8-dynamic"].rejected is None
    assert found["int8-dynamic"].accuracy_drop is not None
    assert found["int8-dynamic"].accuracy_drop < 0.03
    (winner,) = (one for one in outcome.finalists if one.candidate.precision == "int8-dynamic")
    (warning,) = winner.warnings
    told = re.fullmatch(r"ranges are taken over a whole request: of 32 samples .* by up to (.*)% of .* alone", warning)
    assert told
    assert 0.05 < float(told[1]) < 10


class Fixed:
    """An engine that answers the same to any request."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def infer(self, inputs: Any, outputs: Any = None) -> dict[str, Any]:
        del inputs, outputs
        return {"y": self.answer}


def test_an_output_whose_first_axis_does_not_count_samples_depends_on_no_neighbour() -> None:
    engine: Any = Fixed(numbers(8, 4))
    x = {"x": numbers(8, 3)}
    assert apart(engine, Samples(x, {"x": 2}, batches=True)) == (0.0, 8)


class Logarithm:
    """An engine that answers a logarithm, of zero too, and of samples together a tenth more."""

    def infer(self, inputs: Any, outputs: Any = None) -> dict[str, Any]:
        del outputs
        with np.errstate(divide="ignore"):
            return {"y": np.log(inputs["x"]) + (0.1 if len(inputs["x"]) > 1 else 0)}


def test_logarithms_of_zero_hide_no_neighbours() -> None:
    engine: Any = Logarithm()
    x = np.array([[0.0], [1.0], [np.e]], np.float32)
    worst, _ = apart(engine, Samples({"x": x}, {"x": 2}, batches=True))
    assert worst == pytest.approx(0.1, abs=1e-3)


def test_answers_depend_on_neighbours_by_as_much_as_is_said(networks: Any, tmp_path: Path) -> None:
    model, given, _, _ = networks["tokens"]
    made = dynamic(tmp_path, model)
    samples = Samples(given, {name: array.ndim for name, array in given.items()}, batches=True)
    for file, some in ((tmp_path / "source.onnx", False), (made.file, True)):
        engine = load_engine("onnxruntime", file, threads=1)
        worst, count = apart(engine, samples)
        alone = np.concatenate([engine.infer(samples.feed(index))["probabilities"] for index in range(count)])
        together = engine.infer(samples.feed(0, count))["probabilities"]
        engine.close()
        assert count == 32
        assert worst == pytest.approx(np.abs(alone - together).max() / np.ptp(alone), rel=1e-6, abs=1e-9)
        assert (worst > 1e-3) == some


def test_a_gru_says_that_it_is_no_faster(networks: Any, tmp_path: Path) -> None:
    model, given, asked, right = networks["GRU"]
    outcome = built(tmp_path, model, given, {**asked, "labels": right}, precisions=("int8-dynamic", "fp32"))
    first = outcome.finalists[0]
    assert first.candidate.precision == "int8-dynamic"
    assert "ONNX Runtime computes GRU in fp32" in first.warnings[0]


def test_no_calibration_set_is_needed(networks: Any, tmp_path: Path) -> None:
    model, _, asked, right = networks["tokens"]
    outcome = built(tmp_path, model, None, {**asked, "labels": right}, precisions=LADDER)
    assert [one.candidate.precision for one in outcome.finalists] == ["int8-dynamic", "fp32"]
