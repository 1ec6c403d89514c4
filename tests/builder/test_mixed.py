"""int8 with the nodes that lose most in float: which they are, when it is made, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from candidates import built
from graphs import FLOAT, decibels, model_of, node, samples_of, weights_of
from onnxruntime.quantization.qdq_loss_debug import compute_signal_to_quantization_noice_ratio
from outliers import CHANNELS, LAYERS, PATTERNS, network, pictures, seeded, taught

from edgesmith_builder.contract import Candidate
from edgesmith_builder.dataset import Samples
from edgesmith_builder.ladder.refining import loses, why_not_refined
from edgesmith_builder.quantize import Quantization, QuantizationFailed, mixtures, quantize
from edgesmith_builder.quantize.channels import channels_of
from edgesmith_builder.quantize.losses import losses
from edgesmith_builder.quantize.static import plain
from edgesmith_builder.toolchain import Compiled, Material, onnxruntime

FEEDS = pictures(16)
WORK = {"conv0": 3, **{f"conv{number}": CHANNELS for number in range(1, LAYERS)}}


def made_of(folder: Path, model: onnx.ModelProto, feeds: Any = None, settings: Quantization | None = None) -> Any:
    (folder / "source.onnx").write_bytes(model.SerializeToString())
    (folder / "mixed").mkdir()
    samples = samples_of(feeds or FEEDS)
    return mixtures(folder / "source.onnx", samples, settings or Quantization(), folder / "mixed", 1)


def measured(folder: Path, model: onnx.ModelProto, settings: Quantization | None = None) -> dict[str, float]:
    (folder / "source.onnx").write_bytes(model.SerializeToString())
    (folder / "plain").mkdir()
    made = plain(folder / "source.onnx", samples_of(FEEDS), settings or Quantization(), folder / "plain", 1)
    return dict(losses(made, samples_of(FEEDS), folder / "plain").decibels)


@pytest.mark.parametrize("after", [1, 3])
def test_the_nodes_around_an_outlier_are_left_in_float(after: int, tmp_path: Path) -> None:
    made = next(made_of(tmp_path, network(1000, after)))
    assert [one.name for one in made.spared] == [f"conv{after}", f"conv{after + 1}"]
    assert {one.tensor for one in made.spared} == {f"r{after}"}
    assert all(one.decibels < 10 for one in made.spared)
    assert made.spared[0].what == f"Conv 'conv{after}' with weights [24, 24, 3, 3]"
    work = sum(WORK.values())
    assert made.share == pytest.approx((work - 2 * CHANNELS) / work, abs=0.02)  # the dense layer is the tail's
    assert decibels(tmp_path / "source.onnx", made.file, FEEDS) > 25
    assert f"k{after}_quantized" not in weights_of(made.file)
    assert f"k{(after + 3) % LAYERS}_quantized" in weights_of(made.file)


@pytest.mark.parametrize("settings", [Quantization(), Quantization(weights="uint8"), Quantization(per_channel=False),
                                      Quantization(activations="int8", reduce_range=False)], ids=str)  # fmt: skip
def test_what_is_left_of_each_tensor(settings: Quantization, tmp_path: Path) -> None:
    quiet = measured(tmp_path, network(1), settings)
    assert set(quiet) == {
        "x",
        *(f"r{number}" for number in range(LAYERS)),
        *(f"k{n}" for n in range(LAYERS)),
        "f",
        "p",
        "dense",
    }
    # Numbers of 7 or 8 bits: 30 to 50 dB. What a Relu that was taken out cuts off is no loss.
    assert all(25 < loss < 55 for name, loss in quiet.items()), quiet
    folder = tmp_path / "loud"
    folder.mkdir()
    loud = measured(folder, network(1000), settings)
    assert loud["r0"] > 25
    assert loud["r1"] < 10
    # With one scale for all of its channels, the weight itself loses the quiet ones too.
    assert (loud["k1"] < 10) == (not settings.per_channel)


def test_over_a_whole_tensor_a_loud_channel_hides_the_others(tmp_path: Path) -> None:
    """Signal to noise over all of it, as `qdq_loss_debug` has it, says 40 decibels where one channel of 24 is left."""
    assert measured(tmp_path, network(3000))["r1"] < 1
    single = onnx.load_model(tmp_path / "plain" / "ready.onnx")
    single.graph.output.append(onnx.helper.make_tensor_value_info("r1", FLOAT, None))
    session: Any = ort.InferenceSession(single.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(["r1"], FEEDS)[0].astype(np.float64)
    step = values.max() / 255
    rounded = np.rint(values / step) * step
    assert compute_signal_to_quantization_noice_ratio(values, rounded) > 40
    assert (np.abs(rounded).max(axis=(0, 2, 3)) > 0).sum() < CHANNELS / 2


def test_a_loud_channel_is_seen_through_layers_that_keep_channels_apart(tmp_path: Path) -> None:
    found = measured(tmp_path, network(1000, depthwise=True))
    assert max(found["r1"], found["d"]) < 10
    assert min(found["r0"], found["k0"]) > 25


def test_channels_count_by_the_squares_of_the_weights_behind() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("Conv", ["b", "g"], ["c"], group=2),
        node("Flatten", ["c"], ["d"]), node("Gemm", ["d", "m"], ["y"], transB=1),
    ]  # fmt: skip
    grouped = np.array([[1, 2], [0, 1], [3, 0], [1, 1]], np.float32)[..., None, None]
    last = np.array([[1.0, 0, 2, 0]], np.float32)
    weights = {"w": seeded(4, 3, 1, 1), "g": grouped, "m": last}
    model = model_of(nodes, [("x", FLOAT, ["N", 3, 1, 1])], [("y", FLOAT, ["N", 1])], weights)
    found = channels_of(model.graph)
    counted = found.counted("b", 4)
    # The last layer counts the four channels 1, 0, 4, 0; two groups of two read channels 0 and 1, and 2 and 3.
    assert counted / counted.sum() == pytest.approx(np.array([1, 4, 36, 0]) / 41)
    assert found.counted("a", 4) == pytest.approx(counted)
    assert found.counted("x", 3) / found.counted("x", 3).sum() == pytest.approx(
        (weights["w"][:, :, 0, 0] ** 2).T @ counted / ((weights["w"][:, :, 0, 0] ** 2).T @ counted).sum()
    )
    assert (found.counted("nobody", 5) == 1).all()


def test_more_are_left_in_each_step_until_half_of_the_work_is(tmp_path: Path) -> None:
    steps = list(made_of(tmp_path, network(1)))
    assert 2 <= len(steps) <= 6
    names = [{one.name for one in step.spared} for step in steps]
    assert all(before <= after for before, after in pairwise(names))
    shares = [step.share for step in steps]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] >= 0.5
    assert len({step.file for step in steps}) == len(steps)


def arithmetic(units: int = 48) -> onnx.ModelProto:
    """Two dense layers with GELU between them in plain arithmetic, as converters from JAX write it."""
    weights = {"in": 4 * seeded(16, units), "out": seeded(units, units), "head": seeded(units, 8)}
    weights |= {name: np.array(value, np.float32) for name, value in
                {"a": 0.044715, "b": 0.7978846, "one": 1.0, "half": 0.5}.items()}  # fmt: skip
    steps = [("Mul", "d", "d", "d2"), ("Mul", "d2", "d", "d3"), ("Mul", "d3", "a", "m"), ("Add", "d", "m", "s"),
             ("Mul", "s", "b", "u")]  # fmt: skip
    nodes = [node("MatMul", ["x", "in"], ["d"], name="first")]
    nodes += [node(kind, [left, right], [to], name=to) for kind, left, right, to in steps]
    nodes += [node("Tanh", ["u"], ["t"], name="t"), node("Add", ["t", "one"], ["v"], name="v"),
              node("Mul", ["v", "half"], ["w"], name="w"), node("Mul", ["d", "w"], ["g"], name="g"),
              node("MatMul", ["g", "out"], ["h"], name="second"), node("Relu", ["h"], ["r"], name="r"),
              node("MatMul", ["r", "head"], ["y"], name="last")]  # fmt: skip
    return model_of(nodes, [("x", FLOAT, ["N", 16])], [("y", FLOAT, ["N", 8])], weights)


ROWS = {"x": np.random.default_rng(3).normal(size=(64, 16)).astype(np.float32)}
ROWS["x"][1] *= 12
"""One is loud: 256 steps over the range of its cubes leave nothing of the others'."""


def test_arithmetic_between_layers_that_loses_most_is_left_in_float_first(tmp_path: Path) -> None:
    made = next(made_of(tmp_path, arithmetic(), ROWS))
    assert made.share == 1.0
    assert {"m", "s", "u"} <= {one.name for one in made.spared}
    assert {one.name for one in made.spared}.isdisjoint({"first", "second", "last"})
    assert {"in_quantized", "out_quantized"} <= set(weights_of(made.file))
    again = tmp_path / "int8"
    again.mkdir()
    plainly = quantize(tmp_path / "source.onnx", samples_of(ROWS), Quantization(), again)
    quiet = {"x": np.delete(ROWS["x"], 1, axis=0)}
    before, after = (decibels(tmp_path / "source.onnx", file, quiet) for file in (plainly, made.file))
    assert before + 10 < after, (before, after)


def test_layers_alone_are_no_form_where_a_layer_loses_most(tmp_path: Path) -> None:
    assert all(step.file.name != "int8-mixed-layers.onnx" for step in made_of(tmp_path, network(1000)))


def test_where_most_work_is_lost_there_is_no_such_form(tmp_path: Path) -> None:
    model = network(1000, 0, layers=2)
    with pytest.raises(QuantizationFailed, match=r"most, 0% of its multiplications are left to int8; 50% was"):
        next(made_of(tmp_path, model))


# The ladder -------------------------------------------------------------------------------------------------------

LADDER = ("int8", "int8-mixed", "fp32")
CALIBRATION = pictures(40)
EVALUATION = {**pictures(200), "labels": np.arange(200) % len(PATTERNS)}


def test_it_is_made_where_int8_loses_and_says_what_stayed_in_float(tmp_path: Path) -> None:
    outcome = built(tmp_path, taught(10000), CALIBRATION, EVALUATION, precisions=LADDER)
    found = {one.precision: one for one in outcome.candidates}
    mixed, plainly = found["int8-mixed"], found["int8"]
    assert plainly.accuracy_drop is not None
    assert plainly.accuracy_drop > 0.3
    assert mixed.rejected is None
    assert mixed.accuracy_drop is not None
    assert mixed.accuracy_drop < 0.02
    assert [one.node for one in mixed.in_float] == [f"Conv 'conv{n}' with weights [24, 24, 3, 3]" for n in (1, 2)]
    assert mixed.in_float[0].tensor == "r1"
    assert mixed.in_float[0].decibels < 10
    assert mixed.int8_share == pytest.approx(0.61, abs=0.03)
    (warning,) = next(one.warnings for one in outcome.finalists if one.candidate.precision == "int8-mixed")
    assert warning.startswith("2 nodes compute in fp32, since they lose most in int8, and 61% of the multiplications")
    assert "Conv 'conv1' with weights [24, 24, 3, 3] (" in warning


def test_it_is_not_made_where_int8_loses_nothing(tmp_path: Path) -> None:
    outcome = built(tmp_path, taught(1), CALIBRATION, EVALUATION, precisions=LADDER)
    found = {one.precision: one for one in outcome.candidates}
    assert found["int8"].rejected is None
    assert found["int8-mixed"].rejected is not None
    assert found["int8-mixed"].rejected.startswith("int8 loses nothing that its samples can tell (a drop of ")
    assert found["int8-mixed"].agreement is None


def test_what_loses_no_less_than_int8_is_no_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def int8_again(material: Material, samples: Samples, folder: Path) -> Iterator[Compiled]:
        yield Compiled("onnxruntime", quantize(material.source.path, samples, Quantization(), folder))

    monkeypatch.setattr(onnxruntime, "_mixed", int8_again)
    outcome = built(tmp_path, taught(10000), CALIBRATION, EVALUATION, precisions=LADDER)
    found = {one.precision: one for one in outcome.candidates}
    assert found["int8-mixed"].rejected == "it cannot be made: with the nodes that lose most in float, it loses no less"


def test_of_forms_that_all_lose_the_one_that_loses_least_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = onnxruntime._mixed

    def worst_last(material: Material, samples: Samples, folder: Path) -> Iterator[Compiled]:
        yield next(real(material, samples, folder))
        (folder / "again").mkdir()
        yield Compiled("onnxruntime", quantize(material.source.path, samples, Quantization(), folder / "again"))

    monkeypatch.setattr(onnxruntime, "_mixed", worst_last)
    monkeypatch.setattr("edgesmith_builder.ladder.rung.loses", lambda _: True)
    outcome = built(tmp_path, taught(10000), CALIBRATION, EVALUATION, precisions=LADDER)
    mixed = next(one for one in outcome.candidates if one.precision == "int8-mixed")
    assert mixed.int8_share is not None
    assert mixed.accuracy_drop is not None
    assert mixed.accuracy_drop < 0.02


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        made.append(next(made_of(folder, network(1000))).file.read_bytes())
    assert made[0] == made[1]


def test_without_int8_before_it_is_made_by_itself(tmp_path: Path) -> None:
    outcome = built(tmp_path, taught(1000), CALIBRATION, EVALUATION, precisions=("int8-mixed", "fp32"))
    assert [one.candidate.precision for one in outcome.finalists] == ["int8-mixed", "fp32"]


@pytest.mark.parametrize(
    ("said", "loss"),
    [
        pytest.param({"accuracy_drop": 0.01, "accuracy_drop_error": 0.015, "agreement": 0.99}, True, id="a real drop"),
        pytest.param({"accuracy_drop": 0.01, "accuracy_drop_error": 0.02, "agreement": 0.99}, False, id="luck"),
        pytest.param({"accuracy_drop": -0.01, "accuracy_drop_error": 0.001, "agreement": 0.99}, False, id="better"),
        pytest.param({"accuracy_drop": 0.0, "accuracy_drop_error": 0.0, "agreement": 0.99}, False, id="nothing"),
        pytest.param({"accuracy_drop": 0.001, "accuracy_drop_error": 0.0, "agreement": 0.99}, True, id="certain"),
        pytest.param({"accuracy_drop": 0.0, "accuracy_drop_error": 0.1, "agreement": 0.89}, True, id="other answers"),
        pytest.param({"agreement": 0.9}, False, id="agreement alone"),
        pytest.param({}, False, id="not measured"),
    ],
)
def test_what_counts_as_a_loss(said: dict[str, float], loss: Any) -> None:
    assert loses(Candidate.model_validate({"precision": "int8", **said})) is loss


def test_without_an_int8_there_is_nothing_to_better() -> None:
    refused = Candidate(precision="int8", rejected="it cannot be made: there is nothing to quantise")
    said = why_not_refined("int8-mixed", {"int8": refused})
    assert said == "there is no int8 of it to leave nodes of in float"
    assert why_not_refined("int8-dynamic", {"int8": refused}) is None
    assert why_not_refined("int8-mixed", {}) is None
